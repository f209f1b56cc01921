"""The argparse of the verbs that are not Hydra's: its mistakes are told like all others, in one sentence."""

import argparse
import re
from pathlib import Path
from typing import NoReturn

from metarun.errors import UserError, did_you_mean


class WordParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises a `UserError` where the original prints its usage and leaves."""

    @classmethod
    def with_examples(cls, prog: str, description: str, examples: str) -> "WordParser":
        """Return the parser of a verb, whose help ends with examples as they are laid out."""
        return cls(prog, description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add_paths(self) -> None:
        """Take folders to look for runs below, as `paths`."""
        what = "folders to look below (default: results)"
        self.add_argument("paths", nargs="*", type=Path, metavar="PATH", default=[Path("results")], help=what)

    def error(self, message: str) -> NoReturn:
        """Raise the sentence for a mistake in the words of this verb."""
        hint = ""
        if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            hint = did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
        raise UserError(f"{self.prog}: {message}.{hint} `{self.prog} --help` shows what it takes.")
