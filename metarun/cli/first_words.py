"""Say at once what a command is waiting for, on a terminal; the next line that is printed replaces it."""

import sys


def say(text: str) -> None:
    """Write a line that the next one overwrites, if the output is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{text}\r")
        sys.stderr.flush()
