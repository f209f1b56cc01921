"""Work through tasks in chunks that do not affect each other, in smaller ones when memory runs out."""

import logging
from collections.abc import Callable
from typing import TypeVar

from metarun.errors import RunFailed
from metarun.system.memory import is_out_of_memory
from metarun.system.progress import OnProgress

log = logging.getLogger(__name__)

Found = TypeVar("Found")


def in_chunks(
    measure: Callable[[int, int], Found], tasks: int, size: int, too_large: Callable[[], str], on_progress: OnProgress
) -> list[Found]:
    """Return what was measured of each chunk of tasks.

    Args:
        measure: gets the number of the first task and how many.
        tasks: how many in all.
        size: of a chunk.
        too_large: returns the message if one task does not fit in memory; naming keys takes a tenth of a second.
        on_progress: called after each chunk with the number of tasks done and the total.

    Raises:
        RunFailed: one task does not fit in memory.
    """
    found, done = [], 0
    while done < tasks:
        length = min(size, tasks - done)
        try:
            found.append(measure(done, length))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if length == 1:
                raise RunFailed(too_large()) from error
            size = length // 2
            log.warning("out of memory: evaluating %d tasks at once from now on, not %d", size, length)
        else:
            done += length
            on_progress(done, tasks)
    return found
