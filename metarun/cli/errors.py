"""Report errors: one sentence for an expected error, a traceback for a bug."""

import errno
import os
import signal
import sys
import traceback

from metarun.errors import FULL_TRACE, Interrupted, RunFailed, UserError, printable
from metarun.system.events import emit
from metarun.system.secrets import masked

# Errors of the system rather than of metarun: no space, no permission, no such folder, a failing disk.
SYSTEM_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG),
}

MAX_LENGTH = 2_000  # characters of a message, which may quote its input; longer ones are cut in the middle


def report(error: BaseException, job: str = "") -> int:
    """Print `error` on stderr and return the exit code: 2 for a user error, 1 for a failure, 128 + signal number.

    In a sweep, `job` is the overrides of the job that raised it.
    """
    if isinstance(error, BrokenPipeError):
        _discard_stdout()
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError) and error.errno in SYSTEM_ERRORS and error.filename is None:  # perhaps from stdout
        _discard_stdout()
    text, code = _message_and_code(error)
    if text is None or FULL_TRACE:
        sys.stderr.write(masked("".join(traceback.format_exception(error))))
    else:
        one_line = printable(masked(" ".join(f"{job and f'[{job}] '}{text}".split())))
        if len(one_line) > MAX_LENGTH:
            one_line = f"{one_line[: MAX_LENGTH // 2]} … {one_line[-MAX_LENGTH // 2 :]}"
        print(f"metarun: error: {one_line}" if code <= 2 else f"metarun: {one_line}", file=sys.stderr)
        emit("failed", reason=one_line)
    return code


def _message_and_code(error: BaseException) -> tuple[str | None, int]:
    if isinstance(error, Interrupted):
        return str(error), 128 + error.signal_number
    if isinstance(error, KeyboardInterrupt):
        return "stopped by Ctrl-C.", 130
    if isinstance(error, UserError | RunFailed):
        return str(error), 2 if isinstance(error, UserError) else 1
    if isinstance(error, OSError) and error.errno in SYSTEM_ERRORS:
        return f"{error.filename or 'cannot write the output'}: {error.strerror}; fix this and rerun the command.", 2
    if "hydra" not in sys.modules:  # it cannot be an error of Hydra's, and importing Hydra is slow
        return None, 1
    from metarun.config.hydra_errors import explain

    text = explain(error)
    if text is None and isinstance(error.__cause__, UserError | RunFailed):  # raised by a constructor that Hydra called
        return _message_and_code(error.__cause__)
    return text, 1 if text is None else 2


def _discard_stdout() -> None:
    """Redirect stdout to /dev/null: otherwise Python reports the error again at shutdown (`metarun --help | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
