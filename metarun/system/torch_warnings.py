"""What torch warns of, mostly of a network of the user's own, told as a run tells other things: a line, once."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import torch

log = logging.getLogger(__name__)
_TORCH = str(Path(torch.__file__).parent)


@contextmanager
def torch_warnings_logged() -> Iterator[None]:
    """Within the block, a warning from torch's code is a line of the log, once; all others are shown as ever."""
    told: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not filename.startswith(_TORCH):
            before(message, category, filename, lineno, file, line)
            return
        text = " ".join(str(message).partition("(Triggered internally")[0].split())
        if text not in told:
            told.add(text)
            log.warning("torch: %s", text)

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before
