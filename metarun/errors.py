"""How a command ends when it is not a bug: a user's mistake, a failed run, a signal."""

import difflib
import os
from collections.abc import Iterable
from typing import Any, Self


class UserError(ValueError):
    """A request that metarun cannot carry out.

    The message is one sentence. The command line prints it without a traceback and exits with code 2; any other
    exception is a bug and keeps its traceback.

    Args:
        problem: what was asked and why it cannot be done.
        remedy: what is possible instead, and which key to change.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.problem, self.remedy)


class RunFailed(Exception):  # noqa: N818, nobody made an error
    """A valid run that failed, such as a loss that became NaN; exit code 1."""


class TrainingDiverged(RunFailed):
    """A training whose loss is no longer finite; the checkpoint chosen before that can still be evaluated.

    Args:
        message: the sentence.
        step: at which this was noticed.

    Attributes:
        trained: the training keys of the failed run's record; empty if there is no checkpoint.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step
        self.trained: dict[str, Any] = {}


class Interrupted(KeyboardInterrupt):
    """A signal stopped the work at a point where nothing is lost; exit code 128 + the signal's number.

    Not an `Exception`, so that Hydra ends a sweep instead of starting the next job.
    """

    def __init__(self, signal_number: int, message: str = "stopped; rerun the same command to resume.") -> None:
        super().__init__(message)
        self.signal_number = signal_number


def printable(text: str) -> str:
    """Escape characters that move the cursor, break the line or change the text direction."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def reason_of(error: BaseException) -> str:
    """Return the message of an exception in one line; its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def describe_exception(what: str, error: Exception) -> str:
    """Return one sentence for an exception raised by a user's code."""
    message = " ".join(str(error).split()).rstrip(".")
    return f"{what} ({type(error).__name__}{message and ': '}{message}); set HYDRA_FULL_ERROR=1 to see where."


def counted(number: int, what: str) -> str:
    """Format a count: "1 class", "2 classes", "3 entities"."""
    if number != 1:
        what = f"{what[:-2]}ties" if what.endswith("ty") else f"{what}{'es' if what.endswith('s') else 's'}"
    return f"{number:,} {what}"


_MAX_WORD = 100  # characters; comparing longer words is slow


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return ``" Did you mean 'omniglot'?"`` when an option is close to `word`, else an empty string."""
    options = [option for option in options if len(option) <= _MAX_WORD] if len(word) <= _MAX_WORD else []
    by_case = {option.casefold(): option for option in options}
    near = difflib.get_close_matches(word.casefold(), by_case, n=1, cutoff=0.6)
    return f" Did you mean '{by_case[near[0]]}'?" if near else ""


# The user's setting, read before `metarun train` sets the variable for Hydra.
FULL_TRACE = os.environ.get("HYDRA_FULL_ERROR") == "1"
