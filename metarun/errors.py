"""The ends of a command that are no bugs: a user's mistake, a run that came to nothing, a signal."""

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


class RunFailed(Exception):  # noqa: N818, it is no error of anybody's
    """A run that was asked for rightly and came to nothing, such as a loss that became NaN; exit code 1."""


class TrainingDiverged(RunFailed):
    """A training whose loss is no number any more; what meta-val chose until then can be judged all the same.

    Args:
        message: the sentence.
        step: at which it was seen.

    Attributes:
        trained: what the row of the failed run says of the training up to its checkpoint; empty: there is none.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step
        self.trained: dict[str, Any] = {}


class Interrupted(KeyboardInterrupt):
    """The user's signal ended the work at a point where nothing is lost; exit code 128 + the signal's number.

    No `Exception`, so that Hydra ends a sweep with it instead of starting the next job.
    """

    def __init__(self, signal_number: int, message: str = "stopped; the same command goes on from here.") -> None:
        super().__init__(message)
        self.signal_number = signal_number


def printable(text: str) -> str:
    """Return a text in which nothing moves a cursor, breaks a line or turns its direction: escapes stand for that."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def failed(what: str, error: Exception) -> str:
    """Return the sentence for an exception out of a user's own code."""
    told = " ".join(str(error).split()).rstrip(".")
    return f"{what} ({type(error).__name__}{told and ': '}{told}); HYDRA_FULL_ERROR=1 shows where."


def counted(number: int, what: str) -> str:
    """Write how many of something there are: "1 class", "2 classes"."""
    plural = "es" if what.endswith("s") else "s"
    return f"{number:,} {what}{'' if number == 1 else plural}"


_LONGEST_WORD = 100  # characters; to compare longer ones takes long and helps nobody


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return ``" Did you mean 'omniglot'?"`` when an option is close to `word`, else an empty string."""
    options = [option for option in options if len(option) <= _LONGEST_WORD] if len(word) <= _LONGEST_WORD else []
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


# The user's own wish, read before `metarun train` sets the variable for Hydra.
FULL_TRACE = os.environ.get("HYDRA_FULL_ERROR") == "1"
