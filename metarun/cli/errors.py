"""What a failure says to the user: one sentence where the mistake is theirs, a traceback where it is ours."""

import errno
import os
import signal
import sys
import traceback

from metarun.errors import FULL_TRACE, Interrupted, RunFailed, UserError, printable
from metarun.system.events import emit
from metarun.system.secrets import masked

# What a system refuses whoever asks: no room, no rights, no folder there, a disk that fails.
REFUSALS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG),
}

LONGEST = 2_000  # characters of a sentence, which may quote what was given: its two ends are shown of a longer one


def report(error: BaseException, job: str = "") -> int:
    """Print `error` on stderr and return the exit code: 2 for a user's mistake, 1 for a failure, 128 + signal number.

    Args:
        error: what went wrong.
        job: the overrides of the sweep's job in which it did.
    """
    if isinstance(error, BrokenPipeError):
        _print_nowhere()
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError) and error.errno in REFUSALS and error.filename is None:  # perhaps of what was printed
        _print_nowhere()
    text, code = _sentence_and_code(error)
    if text is None or FULL_TRACE:
        sys.stderr.write(masked("".join(traceback.format_exception(error))))
    else:
        one_line = printable(masked(" ".join(f"{job and f'[{job}] '}{text}".split())))
        if len(one_line) > LONGEST:
            one_line = f"{one_line[: LONGEST // 2]} … {one_line[-LONGEST // 2 :]}"
        print(f"metarun: error: {one_line}" if code <= 2 else f"metarun: {one_line}", file=sys.stderr)
        emit("failed", reason=one_line)
    return code


def _sentence_and_code(error: BaseException) -> tuple[str | None, int]:
    if isinstance(error, Interrupted):
        return str(error), 128 + error.signal_number
    if isinstance(error, KeyboardInterrupt):
        return "stopped by Ctrl-C.", 130
    if isinstance(error, UserError | RunFailed):
        return str(error), 2 if isinstance(error, UserError) else 1
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return f"{error.filename or 'what was to be written'}: {error.strerror}; mend that, then run it again.", 2
    if "hydra" not in sys.modules:  # then it cannot be one of Hydra's, and looking would cost an import
        return None, 1
    from metarun.cli.hydra_errors import explain

    text = explain(error)
    if text is None and isinstance(error.__cause__, UserError | RunFailed):  # a constructor that Hydra called
        return _sentence_and_code(error.__cause__)
    return text, 1 if text is None else 2


def _print_nowhere() -> None:
    """Let what is still to be printed go nowhere: Python would complain once more while it shuts down.

    `metarun train --help | head -1` expects that.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
