"""The data of your existing learn2learn Tasksets."""

import importlib
import random
from collections.abc import Callable
from typing import Any

from metarun.data.contents import describe
from metarun.data.examples import SPLITS, ClassDataset, Examples, Split
from metarun.data.files.cache import Storage, apply_storage
from metarun.data.pictures.taskset_reader import read_splits
from metarun.errors import UserError, describe_exception, did_you_mean, reason_of

NAMES: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}  # learn2learn's names of the splits


class Tasksets:
    """The examples of three learn2learn Tasksets: meta-training, meta-validation and meta-test.

    metarun draws the tasks, so that they are numbered, reproducible and hashed: `task.way` and `task.shot` replace
    NWays and KShots. Class filters apply, both FilteredMetaDataset and FilterLabels. Task transforms that change
    examples do not apply; a warning names them. See `read_splits` for the rest.

    Args:
        tasksets: `package.module:function`, importable from the current directory. The function takes no arguments and
            returns three Tasksets: as attributes train, validation and test, like
            `learn2learn.vision.benchmarks.get_tasksets`, or in that order.
        storage: "memory" or "disk", see `apply_storage`.
    """

    name = "l2l_taskset"
    summary = "the data of your own learn2learn Tasksets"
    licence = "that of your data"

    def __init__(self, tasksets: str | None = None, storage: Storage = "memory") -> None:
        self.tasksets = tasksets
        self.storage = storage

    def load(self) -> ClassDataset:
        """Call the function and read all examples."""
        classes = read_splits(self.name, self._by_split(self._call()))
        data = ClassDataset(self.name, {split: Examples.from_classes(classes[split]) for split in SPLITS})
        return apply_storage(data, self.storage)

    def where(self) -> str:
        """Return the function that the data come from."""
        return self.tasksets or "yours: data.tasksets=package.module:function"

    def check(self) -> str:
        """Read all examples and return a summary."""
        data = self.load()
        return f"{describe(data)}; {data.splits['train'].values.dtype} {data.shape}; no class is in two splits"

    def _call(self) -> object:
        """Call the user's function after `random.seed(0)`.

        learn2learn's benchmarks shuffle the classes with Python's `random` and set no seed: a meta-training class could
        be a meta-test class in the next command.
        """
        function = self._function()
        before = random.getstate()
        random.seed(0)
        try:
            return function()
        except Exception as error:
            raise UserError(describe_exception(f"data.tasksets={self.tasksets} failed", error)) from error
        finally:
            random.setstate(before)

    def _function(self) -> Callable[[], object]:
        if self.tasksets is None:
            raise UserError(
                f"data={self.name} needs Tasksets of yours",
                "set `data.tasksets=package.module:function` to a function that returns three, for meta-training, "
                "meta-validation and meta-test.",
            )
        module_name, colon, function_name = self.tasksets.partition(":")
        if not (module_name and colon and function_name):
            raise UserError(f"data.tasksets={self.tasksets} must have the form package.module:function.")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise UserError(
                f"data.tasksets={self.tasksets} cannot be imported ({reason_of(error).rstrip('.')})", _remedy(error)
            ) from error
        function: Callable[[], object] | None = getattr(module, function_name, None)
        if function is None:
            hint = did_you_mean(function_name, vars(module))
            raise UserError(f"data.tasksets={self.tasksets} does not exist in {module_name}.{hint}")
        return function

    def _by_split(self, returned: Any) -> dict[Split, Any]:
        if all(hasattr(returned, name) for name in NAMES.values()):
            return {split: getattr(returned, name) for split, name in NAMES.items()}
        if isinstance(returned, tuple | list) and len(returned) == len(SPLITS):
            return dict(zip(SPLITS, returned, strict=True))
        raise UserError(
            f"data.tasksets={self.tasksets} returned a {type(returned).__name__}",
            "return three Tasksets, (train, validation, test).",
        )


def _remedy(error: Exception) -> str:
    """Return what to do if torchvision is built for another torch, as after scripts/install_learn2learn.sh."""
    if "torchvision::" not in str(error):
        return "fix the module, or correct `data.tasksets`."
    by = "metarun.algorithms.learn2learn.importing.import_learn2learn()"
    return f"import learn2learn by `{by}`, which works around this, or fix torchvision."
