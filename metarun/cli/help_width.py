"""Fit help texts into a narrow terminal."""

import os
import re
import shutil
import sys
import textwrap

COMMAND = re.compile(r"( *)(\S(?:.*?\S)?) {2,}(\S.*)")  # indentation, a command, and what it does


def fit(text: str) -> str:
    """Break the lines of a help text that are wider than the terminal; a file or a pipe gets it as it is."""
    if not (sys.stdout.isatty() or "COLUMNS" in os.environ):
        return text
    width = shutil.get_terminal_size().columns
    return "".join(_fit_line(line, width) + "\n" for line in text.splitlines())


def _fit_line(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    found = COMMAND.fullmatch(line)
    indent = " " * (len(found[1]) + 4) if found else ""
    before, rest = (f"{found[1]}{found[2]}\n", found[3]) if found else ("", line)
    lines = textwrap.wrap(
        rest, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return before + "\n".join(lines)
