"""Read the data of learn2learn's Tasksets.

A taskset is a `learn2learn.data.Taskset` and its dataset a `MetaDataset`. Both, and tensors, are typed `Any` and
recognised by their attributes, because nothing in data/ imports torch.
"""

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.data.examples import SPLITS, Split, Values
from metarun.errors import UserError, describe_exception

log = logging.getLogger(__name__)

Classes = dict[str, Values]  # class name -> (examples, *shape)

# Task transforms that choose classes and examples, load them or number the classes: metarun does this itself.
REPLACED_TRANSFORMS = (
    *("FilterLabels", "FusedNWaysKShots", "NWays", "KShots"),
    *("LoadData", "RemapLabels", "ConsecutiveLabels"),
)
ROUNDING = 1e-3  # in 255ths: a float this close to k / 255 counts as k / 255, such as 1 - 7 / 255


def read_splits(name: str, tasksets: Mapping[Split, Any]) -> dict[Split, Classes]:
    """Return the examples of three tasksets by class.

    Each example is read once. uint8 k means k / 255. Floats become uint8, a quarter of the size, if all of them are
    multiples of 1 / 255; otherwise all examples are float32.

    Classes are named by their labels, such as "3", or "train/3" unless all splits share one dataset.

    Raises:
        UserError: something is not a Taskset, an example cannot be used, or classes of two splits have the same
            examples.
    """
    for split, taskset in tasksets.items():
        if not hasattr(getattr(taskset, "dataset", None), "labels_to_indices"):
            raise UserError(f"split '{split}' of {name} is a {type(taskset).__name__}, not a learn2learn Taskset.")
    prefixes = _prefixes(tasksets)
    read = {split: _read(f"split '{split}' of {name}", tasksets[split], prefixes[split]) for split in SPLITS}
    _check_examples_differ(name, read)
    return _of_one_dtype(read)


def _prefixes(tasksets: Mapping[Split, Any]) -> dict[Split, str]:
    """Return the prefix of labels per split, so that equal names mean the same class of one dataset."""
    origins = {split: _origin(taskset.dataset) for split, taskset in tasksets.items()}
    first = {split: next(other for other in SPLITS if origins[other] is origins[split]) for split in SPLITS}
    return {split: f"{first[split]}/" if len(set(first.values())) > 1 else "" for split in SPLITS}


def _origin(dataset: Any) -> Any:
    """Return the dataset that defines the labels: MetaDataset and torch's Subset keep them."""
    while hasattr(dataset, "dataset") and (hasattr(dataset, "labels_to_indices") or hasattr(dataset, "indices")):
        dataset = dataset.dataset
    return dataset


def _read(where: str, taskset: Any, prefix: str) -> Classes:
    filters = list(_filters(where, taskset.task_transforms))
    classes: Classes = {}
    for label, indices in sorted(taskset.dataset.labels_to_indices.items(), key=lambda item: str(item[0])):
        if len(indices) and all(label in kept for kept in filters):
            classes[f"{prefix}{label}"] = _read_class(f"class '{label}' in {where}", taskset.dataset, indices)
    if not classes:
        raise UserError(f"{where} has no classes after its filters", "correct their labels.")
    return classes


def _filters(where: str, transforms: Any) -> Iterator[Collection[Any]]:
    """Yield the labels that each class filter keeps; warn about transforms that are not applied."""
    if callable(transforms):  # a torchvision Compose, or a function
        transforms = getattr(transforms, "transforms", [transforms])
    for transform in transforms:
        kind = type(transform).__name__.removeprefix("Cython")  # as after pickling
        if kind == "FilterLabels":
            yield transform.labels
        elif kind == "FusedNWaysKShots":
            yield transform.filter_labels
        elif kind not in REPLACED_TRANSFORMS:
            log.warning("%s has the task transform %s, which metarun does not apply.", where, kind)


def _read_class(where: str, dataset: Any, indices: Collection[int]) -> Values:
    examples = [_as_array(where, _example(where, dataset, index)) for index in indices]
    if len({(example.shape, example.dtype) for example in examples}) > 1:
        raise UserError(f"{where} has examples of different shapes or types", "make them the same.")
    if not np.array_equal(examples[0], _as_array(where, _example(where, dataset, next(iter(indices))))):
        raise UserError(
            f"{where} has an example that changes each time it is read",
            "remove the random transform from its dataset, because metarun reads each example once.",
        )
    values: Values = np.stack(examples)
    if values.dtype == np.uint8:
        return values
    levels = np.rint(values * 255)
    if np.all((levels >= 0) & (levels <= 255) & (np.abs(values * 255 - levels) <= ROUNDING)):
        pixels: Values = levels.astype(np.uint8)
        return pixels
    return values.astype(np.float32)


def _example(where: str, dataset: Any, index: int) -> Any:
    try:
        return dataset[index][0]
    except Exception as error:  # in the user's code
        raise UserError(describe_exception(f"{where} has an example that cannot be read", error)) from error


def _as_array(where: str, example: Any) -> NDArray[Any]:
    if not hasattr(example, "shape"):
        raise UserError(
            f"{where} has an example of type {type(example).__name__}",
            "add a transform to its dataset that makes a tensor, such as ToTensor.",
        )
    array: NDArray[Any] = np.asarray(example.detach().cpu() if hasattr(example, "detach") else example)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise UserError(f"{where} has examples of type {array.dtype}", "use uint8 (0 to 255) or floats.")
    if not np.all(np.isfinite(array)):
        raise UserError(f"{where} has an example with a number that is not finite", "fix its dataset.")
    return array


def _of_one_dtype(read: Mapping[Split, Classes]) -> dict[Split, Classes]:
    """Return uint8 if all splits are uint8, else float32."""
    if all(values.dtype == np.uint8 for classes in read.values() for values in classes.values()):
        return dict(read)
    return {split: {name: _as_floats(values) for name, values in classes.items()} for split, classes in read.items()}


def _as_floats(values: Values) -> NDArray[np.float32]:
    return values.astype(np.float32) / np.float32(255) if values.dtype == np.uint8 else values.astype(np.float32)


def _check_examples_differ(name: str, read: Mapping[Split, Classes]) -> None:
    """Raise a UserError if classes of two splits with different names have the same examples."""
    seen: dict[bytes, tuple[Split, str]] = {}
    for split, classes in read.items():
        for class_name, values in classes.items():
            rows = sorted(hashlib.sha256(row.tobytes()).digest() for row in values)
            other, other_name = seen.setdefault(hashlib.sha256(b"".join(rows)).digest(), (split, class_name))
            if other != split and other_name != class_name:
                raise UserError(
                    f"class '{class_name}' in '{split}' of {name} has the same examples as '{other_name}' in '{other}'",
                    "put each class into one Taskset.",
                )
