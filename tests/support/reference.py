"""Imports of the reference libraries: learn2learn, easyfsl and scikit-learn."""

import os
import warnings
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import pytest

from metarun.algorithms.learn2learn import importing as learn2learn


def import_learn2learn() -> ModuleType:
    """Return the module `learn2learn`; if it is missing, skip the test, or fail it with CI=true."""
    _require("learn2learn", "scripts/install_learn2learn.sh", "learn2learn", "torchvision", "gym")
    return learn2learn.import_learn2learn()


@cache
def import_easyfsl() -> ModuleType:
    """Return the module `easyfsl` with `easyfsl.methods`; skip or fail likewise."""
    scripts = "scripts/install_learn2learn.sh and scripts/install_easyfsl.sh"
    _require("easyfsl", scripts, "easyfsl", "torchvision")
    with warnings.catch_warnings():  # its imports warn, and warnings are errors here
        warnings.simplefilter("ignore")
        learn2learn.import_torchvision()
        import easyfsl
        import easyfsl.methods
    return easyfsl


@cache
def import_torchvision() -> ModuleType:
    """Return torchvision, which is installed with learn2learn."""
    import_learn2learn()
    return learn2learn.import_torchvision()


def _require(library: str, how: str, *modules: str) -> None:
    missing = [name for name in modules if not find_spec(name)]
    if missing:
        reason = f"NOT COMPARED WITH {library}: {', '.join(missing)} not installed; {how}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@cache
def import_sklearn() -> ModuleType:
    """Return scikit-learn with its linear models; skip or fail likewise."""
    if not find_spec("sklearn"):
        reason = "NOT COMPARED WITH scikit-learn: not installed; pip install -e '.[dev]'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    import sklearn.linear_model
    import sklearn.neighbors

    return sklearn
