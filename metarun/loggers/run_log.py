"""Write metarun's log lines to the run's log file and to the console."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from metarun.system.secrets import masked


class _ConsoleHandler(logging.Handler):
    """Writes log lines to the console, above the progress bar if there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        self.console.print(record.getMessage(), style=style, highlight=False, markup=False, soft_wrap=True)


class _FileHandler(logging.Handler):
    """Appends log lines to a file; write errors are ignored, since the console shows what matters too."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self.format(record)}\n")


def _without_secrets(record: logging.LogRecord) -> bool:
    """A filter that replaces passwords and tokens, such as one in a server's address, by `***`."""
    record.msg, record.args = masked(record.getMessage()), ()
    return True


@contextmanager
def logging_to(path: Path, console: Console) -> Iterator[None]:
    """Within the block, write metarun's log lines to a file, with the time, and from INFO on to the console."""
    logger = logging.getLogger("metarun")
    handlers: list[logging.Handler] = [_FileHandler(path), _ConsoleHandler(console)]
    before = logger.level
    logger.setLevel(logging.DEBUG)
    for handler in handlers:
        handler.addFilter(_without_secrets)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(before)
