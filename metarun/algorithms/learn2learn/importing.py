"""learn2learn (https://github.com/learnables/learn2learn), imported in this module and nowhere else in metarun."""

import contextlib
import io
import sys
import warnings
from functools import cache
from typing import Any

import torch

from metarun.errors import UserError

# The operators that `import torchvision` names; keeps them alive for the process where it had to declare them.
_DECLARED: list[torch.library.Library] = []


@cache
def import_learn2learn() -> Any:
    """Return the module `learn2learn`; what its imports warn of and print is held back, and so is gym's notice.

    Raises:
        UserError: it is not installed, or something that it imports is not.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            import_torchvision()
            import learn2learn
    except ImportError as error:
        raise UserError(
            f"learn2learn cannot be imported ({error})",
            f"run `scripts/install_learn2learn.sh {sys.prefix}` in a "
            "checkout of metarun, or choose a method of metarun's own, such as algo=maml.",
        ) from error
    return learn2learn


def import_torchvision() -> Any:
    """Return torchvision; where its CUDA build stands beside a CPU torch and cannot, its operators are declared first.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            operator = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(operator)  # type: ignore[no-untyped-call]
        _DECLARED.append(library)
        import torchvision
    return torchvision
