"""learn2learn, the reference that gradients are compared with: imported here and nowhere else."""

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
    """Return the module `learn2learn`, or skip the test that asked for it; with CI=true its absence is a failure.

    Its imports warn, and warnings are errors in our tests: they are contained here.
    """
    missing = [name for name in ("learn2learn", "torchvision", "gym") if not find_spec(name)]
    if missing:
        reason = f"NOT COMPARED WITH learn2learn: {', '.join(missing)} not installed; scripts/install_learn2learn.sh"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _import_torchvision()
        import learn2learn
    return learn2learn


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
