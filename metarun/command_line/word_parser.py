"""The argparse of the verbs that are not Hydra's: its mistakes are told like all others, in one sentence."""

import argparse
import re
from typing import NoReturn

from metarun.errors import UserError, did_you_mean


class WordParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises a `UserError` where the original prints its usage and leaves."""

    def error(self, message: str) -> NoReturn:
        """Raise the sentence for a mistake in the words of this verb."""
        hint = ""
        if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            hint = did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
        raise UserError(f"{self.prog}: {message}.{hint} `{self.prog} --help` shows what it takes.")
