"""Packages whose name is also that of a function: `metarun.tasks("omniglot")` and `metarun.results("results")`."""

import sys
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package NAME that, when called, calls `load_NAME` of the package that it is in.

    The function is found at the call, so that the package does not import what is above it.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        parent, _, name = self.__name__.rpartition(".")
        return getattr(sys.modules[parent], f"load_{name}")(*args, **kwargs)


def make_callable(package: str) -> None:
    """Make a package, which is being imported, a `CallablePackage`."""
    sys.modules[package].__class__ = CallablePackage
