"""Tab completion: verbs first, then whatever the verb takes. Shells reach it through `metarun -sc query=SHELL`."""

import os
from collections.abc import Iterable

# Words of the verbs that are not Hydra's; `metarun data get` is followed by a data set.
WORDS = {
    "data": ("list", "get", "check"),
    "compare": ("--rows", "--columns", "--against", "--format", "--help"),
    "rerun": ("--results-dir", "--into", "--device", "--help"),
    "report": ("--output", "--help"),
    "plot": ("curve", "heatmap", "tasks", "--output", "--width", "--against", "--help"),
    "doctor": (),
}


def complete(words: list[str], verbs: Iterable[str]) -> int:
    """Print the shell function (``install=bash``) or, for ``query=bash``, what may follow the line in ``COMP_LINE``."""
    if not words or not words[0].startswith("query="):
        from metarun.cli.hydra_app import run_under_hydra

        return run_under_hydra("train", ["-sc", *words])  # the shell function is the same for every verb
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    if len(typed) < 2 or (len(typed) == 2 and not line[-1].isspace()):
        _offer(verbs, typed[1] if len(typed) > 1 else "")
    elif typed[1] in ("train", "test"):
        from metarun.cli.hydra_app import run_under_hydra

        os.environ["COMP_LINE"] = f"{typed[0]} {line.split(typed[1], 1)[1].lstrip()}"
        return run_under_hydra(typed[1], ["-sc", *words])
    elif typed[1] in WORDS:
        _complete_plain(typed[1], typed[2:], line[-1].isspace())
    return 0


def _complete_plain(verb: str, words: list[str], begin_new: bool) -> None:
    done, current = (words, "") if begin_new or not words else (words[:-1], words[-1])
    if verb == "data" and done in (["get"], ["check"]):
        from metarun.cli.data import names

        _offer(names(), current)
    elif verb != "data" or not done:
        _offer(WORDS[verb], current)


def _offer(options: Iterable[str], begun: str) -> None:
    print("\n".join(option for option in options if option.startswith(begun)))
