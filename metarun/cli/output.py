"""Files that a command writes where its flag `-o` says."""

from collections.abc import Iterator
from contextlib import contextmanager

from metarun.errors import UserError
from metarun.system.atomic_write import WriteError


@contextmanager
def named_by_flag() -> Iterator[None]:
    """Say of a file that cannot be written in this block that `-o` names another: unlike a run, it cannot be resumed.

    Raises:
        UserError: it cannot be written.
    """
    try:
        yield
    except WriteError as error:
        raise UserError(error.problem, "choose another file with -o.") from None
