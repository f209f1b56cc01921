"""Tables for people and for papers."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tabulate import tabulate

FORMATS = ("table", "csv", "md", "latex", "json")


def console_of_any_width() -> Console:
    """The terminal; where there is none nothing is cut, rich would take it for 80 columns wide."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def leave_out(sentence: str) -> None:
    """Say on stderr which run a table does without, and why."""
    Console(stderr=True).print(f"left out: {sentence}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def as_text(head: list[str], rows: list[list[str]], notes: Sequence[str], form: str) -> str:
    """Return a table in Markdown, with notes below it, or in LaTeX (booktabs), with notes as a comment above."""
    if form == "md":
        return tabulate(rows, head, tablefmt="pipe", disable_numparse=True) + f"\n\n{' '.join(notes)}\n"
    return f"% {' '.join(notes)}\n" + tabulate(rows, head, tablefmt="latex_booktabs", disable_numparse=True) + "\n"


def print_table(head: list[str], rows: list[list[str]], notes: Sequence[str], form: str) -> None:
    """Print a table for the terminal, or as `as_text` writes it."""
    if form in ("md", "latex"):
        print(as_text(head, rows, notes, form), end="")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in head:
        table.add_column(name.replace("transductive", "trans-\nductive").replace(", ", "\n"), no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    console = console_of_any_width()
    console.print(table)
    console.print("\n".join(notes), highlight=False, style="dim")
