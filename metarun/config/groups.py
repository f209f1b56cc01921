"""The groups of options in conf/ that `metarun test` does not have."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from metarun.errors import UserError
from metarun.system.paths import is_folder

# Groups of `metarun train` alone: `metarun test` neither trains nor logs, and a checkpoint has its own backbone.
TRAIN_ONLY = ("backbone", "debug", "experiment", "local", "logger", "recipe")
TEST_GROUPS = "algo, data, task and +sweep"


def check_groups(command: str, words: Iterable[str], folders: Sequence[Path]) -> None:
    """Check that `metarun train` or `metarun test` has the groups of overrides, keys or GROUP=OPTION.

    Args:
        command: "train" or "test".
        words: as a user writes them, such as "logger=csv".
        folders: of the user; options of their own may suit both commands.

    Raises:
        UserError: a group is of the other command.
    """
    for word in words:
        group = re.split(r"[.=/@:]", word.lstrip("+~"))[0]
        if command == "test" and group in TRAIN_ONLY and not any(is_folder(folder / group) for folder in folders):
            raise UserError(f"{group} is a group of `metarun train`", f"`metarun test` has {TEST_GROUPS}.")
