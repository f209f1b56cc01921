"""What our numbers are compared with, learn2learn, easyfsl and scikit-learn: imported here and nowhere else."""

import os
import warnings
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch

# The operators that `import torchvision` names; keeps them alive for the process where it had to declare them.
_DECLARED: list[torch.library.Library] = []


@cache
def import_learn2learn() -> ModuleType:
    """Return the module `learn2learn`, or skip the test that asked for it; with CI=true its absence is a failure."""
    _demand("learn2learn", "scripts/install_learn2learn.sh", "learn2learn", "torchvision", "gym")
    with warnings.catch_warnings():  # its imports warn, and warnings are errors in our tests
        warnings.simplefilter("ignore")
        _import_torchvision()
        import learn2learn
    return learn2learn


@cache
def import_easyfsl() -> ModuleType:
    """Return the module `easyfsl` with `easyfsl.methods`, or skip or fail likewise."""
    scripts = "scripts/install_learn2learn.sh and scripts/install_easyfsl.sh"
    _demand("easyfsl", scripts, "easyfsl", "torchvision")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _import_torchvision()
        import easyfsl
        import easyfsl.methods
    return easyfsl


@cache
def import_torchvision() -> ModuleType:
    """Return torchvision, which comes along with learn2learn."""
    import_learn2learn()
    import torchvision

    return torchvision


def _demand(library: str, how: str, *modules: str) -> None:
    missing = [name for name in modules if not find_spec(name)]
    if missing:
        reason = f"NOT COMPARED WITH {library}: {', '.join(missing)} not installed; {how}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def _import_torchvision() -> None:
    """Import torchvision; declare its operators first where its CUDA build stands beside a CPU torch and cannot."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    else:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)
    import torchvision  # noqa: F401


@cache
def import_sklearn() -> ModuleType:
    """Return scikit-learn with its linear models, or skip the test that asked for it; with CI=true fail it."""
    if not find_spec("sklearn"):
        reason = "NOT COMPARED WITH scikit-learn: it is not installed; pip install -e '.[dev]'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    import sklearn.linear_model
    import sklearn.neighbors

    return sklearn
