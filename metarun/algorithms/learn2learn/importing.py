"""Import learn2learn (https://github.com/learnables/learn2learn); no other module of metarun imports it."""

import contextlib
import io
import sys
import warnings
from functools import cache
from typing import Any

import torch

from metarun.errors import UserError

# The torchvision operators that this process had to define; they exist as long as this list keeps them.
_DEFINED: list[torch.library.Library] = []


@cache
def import_learn2learn() -> Any:
    """Return the module `learn2learn`; warnings and output of its imports, such as gym's notice, are suppressed.

    Raises:
        UserError: it or one of its dependencies is not installed.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            import_torchvision()
            import learn2learn
    except ImportError as error:
        raise UserError(
            f"learn2learn cannot be imported ({error})",
            f"run `scripts/install_learn2learn.sh {sys.prefix}` in a checkout of metarun, or use a built-in method, "
            "such as algo=maml.",
        ) from error
    return learn2learn


def import_torchvision() -> Any:
    """Return torchvision; if it is a CUDA build beside a CPU torch and fails, define its operators and retry.

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
        _DEFINED.append(library)
        import torchvision
    return torchvision
