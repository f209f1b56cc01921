"""`trust=[NAME,…]` in the commands that do not use Hydra: the user's own code that a run may use."""

import sys
from collections.abc import Sequence
from pathlib import Path

TRUST_HELP = "trust=[NAME,…] lets the run use your own code"


def split_trust(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments other than `trust=[NAME,…]`, which may stand anywhere, and the names in it.

    They can then be imported from the current folder, as in `metarun train`.
    """
    others = [arg for arg in args if not arg.startswith("trust=")]
    lists = [arg.removeprefix("trust=").strip("[]") for arg in args if arg.startswith("trust=")]
    names = [name for names in lists for part in names.split(",") if (name := part.strip(" '\""))]
    if names:
        sys.path.append(str(Path.cwd()))
    return others, names
