"""Log each of torch's warnings once, as one line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)
_TORCH = str(Path(torch.__file__).parent)


@contextmanager
def torch_warnings_logged() -> Iterator[None]:
    """Log warnings from torch's code once, as one line each; show all others as usual."""
    logged: set[str] = set()

    def show(message: Warning | str, category: type[Warning], filename: str, *where: Any, **more: Any) -> None:
        if not filename.startswith(_TORCH):
            before(message, category, filename, *where, **more)
            return
        text = " ".join(str(message).partition("(Triggered internally")[0].split())
        if text not in logged:
            logged.add(text)
            log.warning("torch: %s", text)

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before
