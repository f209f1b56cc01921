"""The data behind Tasksets of learn2learn that a user has already."""

import importlib
import random
from collections.abc import Callable
from typing import Any

from metarun.data.cache import Storage, as_stored
from metarun.data.contents import describe
from metarun.data.examples import SPLITS, ClassDataset, Examples, Split
from metarun.data.taskset_reader import read_splits
from metarun.errors import UserError, describe_exception, did_you_mean

NAMES: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}  # as learn2learn calls the splits


class Tasksets:
    """The examples behind three Tasksets of learn2learn, those of meta-training, meta-validation and meta-test.

    The tasks are drawn by metarun, so that they are numbered, repeatable and hashed: `task.way` and `task.shot` stand
    in for NWays and KShots. Class filters are heeded, a FilteredMetaDataset as well as FilterLabels among the task
    transforms; task transforms that change examples are not applied, which is logged. See `read_splits` for the rest.

    Args:
        tasksets: `package.module:function`, found where the command is run; the function takes no arguments and returns
            three Tasksets, called train, validation and test, as `learn2learn.vision.benchmarks.get_tasksets` does, or
            in that order.
        storage: "memory", or "disk": see `as_stored`.
    """

    name = "l2l_taskset"
    summary = "the data behind your own learn2learn Tasksets"
    licence = "that of your data"

    def __init__(self, tasksets: str | None = None, storage: Storage = "memory") -> None:
        self.tasksets = tasksets
        self.storage = storage

    def load(self) -> ClassDataset:
        """Call the function and read all examples.

        Raises:
            UserError: it cannot be imported or called, returns something else, or a class stands in two splits.
        """
        classes = read_splits(self.name, self._by_split(self._call()))
        data = ClassDataset(self.name, {split: Examples.from_classes(classes[split]) for split in SPLITS})
        return as_stored(data, self.storage)

    def where(self) -> str:
        """Return where the data come from: a function of the user's."""
        return self.tasksets or "yours: data.tasksets=package.module:function"

    def check(self) -> str:
        """Read all examples and return what was found."""
        data = self.load()
        return f"{describe(data)}; {data.splits['train'].values.dtype} {data.shape}; no class stands in two splits"

    def _call(self) -> object:
        """Call the user's function, with Python's random numbers as after `random.seed(0)`.

        learn2learn's own benchmarks shuffle the classes by them and set no seed: a class of meta-training would be one
        of meta-test in the next command.
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
                f"data={self.name} reads Tasksets of yours",
                "set `data.tasksets=package.module:function` to a function "
                "that returns those of meta-training, meta-validation and meta-test.",
            )
        module_name, colon, function_name = self.tasksets.partition(":")
        if not (module_name and colon and function_name):
            raise UserError(f"data.tasksets={self.tasksets} is not of the form package.module:function.")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise UserError(
                f"data.tasksets={self.tasksets} cannot be imported ({_line(error)}).{_way_out(error)}"
            ) from error
        function: Callable[[], object] | None = getattr(module, function_name, None)
        if function is None:
            hint = did_you_mean(function_name, vars(module))
            raise UserError(f"data.tasksets={self.tasksets} names no function of {module_name}.{hint}")
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


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _way_out(error: Exception) -> str:
    """What helps where torchvision is made for another torch, as after scripts/install_learn2learn.sh."""
    if "torchvision::" not in str(error):
        return ""
    by = "metarun.algorithms.learn2learn.importing.import_learn2learn()"
    return f" Import learn2learn by `{by}`, which knows how to, or fix torchvision."
