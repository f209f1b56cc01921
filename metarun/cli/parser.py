"""The argument parser of the commands that do not use Hydra; it reports errors in one sentence."""

import argparse
import re
from pathlib import Path
from typing import NoReturn

from metarun.cli.help_width import fit
from metarun.errors import UserError, did_you_mean


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises a `UserError` instead of printing its usage and exiting."""

    @classmethod
    def with_examples(cls, prog: str, description: str, examples: str) -> "CommandParser":
        """Return a parser whose help ends with `examples`, printed verbatim."""
        return cls(prog, description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter)

    def format_help(self) -> str:
        """Return the help, with its examples in lines that fit the terminal."""
        return fit(super().format_help())

    def add_paths(self) -> None:
        """Add the argument `paths`: the folders to search for runs."""
        description = "folders to search for runs (default: results)"
        self.add_argument("paths", nargs="*", type=Path, metavar="PATH", default=[Path("results")], help=description)

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError` with argparse's message and the closest valid choice."""
        hint = ""
        if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            hint = did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
        raise UserError(f"{self.prog}: {message}.{hint} See `{self.prog} --help`.")
