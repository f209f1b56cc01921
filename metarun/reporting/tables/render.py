"""Tables for people and for papers."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metarun.errors import printable

FORMATS = ("table", "csv", "md", "latex", "json")
LONG = 500  # rows, for more of which rich takes seconds
IN_LATEX = str.maketrans(
    {
        **{sign: rf"\{sign}" for sign in "&%$#_{}"},
        **{"^": r"\^{}", "~": r"\textasciitilde{}", "\\": r"\textbackslash{}"},
        **{"<": r"\ensuremath{<}", ">": r"\ensuremath{>}", "≈": r"$\approx$"},
        **{"∞": r"$\infty$", "×": r"$\times$", "↓": r"$\downarrow$", "∅": r"$\emptyset$"},
    }
)
OPTIONAL_IN_LATEX = re.compile(r"^(\s*)([\[*])")  # at the start of a row an argument of the \\ or \midrule before it
IN_MARKDOWN = str.maketrans({"|": r"\|"})


def counted(comparisons: int) -> str:
    """Write how many comparisons a p-value was corrected for."""
    return "1 comparison" if comparisons == 1 else f"{comparisons:,} comparisons"


def p_text(p: float) -> str:
    """Write a p-value."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def console_of_any_width(needed: int = 0) -> Console:
    """The terminal; where there is none, a page as wide as `needed`: rich would take it for 80 columns wide."""
    console = Console()
    return console if console.is_terminal else Console(width=max(200, needed))


def leave_out(sentence: str) -> None:
    """Say on stderr which run a table does without, and why."""
    one_line = printable(" ".join(f"left out: {sentence}".split()))
    Console(stderr=True).print(one_line, style="yellow", highlight=False, markup=False, soft_wrap=True)


def as_text(head: list[str], rows: list[list[str]], notes: Sequence[str], form: str) -> str:
    """Return a table in Markdown, with notes below it, or in LaTeX (booktabs), with notes as a comment above."""
    if form == "md":
        names, *lines = _aligned([head, *rows], IN_MARKDOWN, "**{}**")
        below = [f":{'-' * max(1, len(name) - 1)}" for name in names]
        text = "\n".join(f"| {' | '.join(line)} |" for line in (names, below, *lines))
        return f"{text}\n\n{' '.join(notes)}\n"
    lines = _aligned([head, *rows], IN_LATEX, r"\textbf{{{}}}")
    top, *body = (OPTIONAL_IN_LATEX.sub(r"\1{\2}", rf"{' & '.join(line)} \\") for line in lines)
    table = [rf"\begin{{tabular}}{{{'l' * len(head)}}}", r"\toprule", top, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([f"% {' '.join(notes)}", *table, r"\end{tabular}", ""])


def _aligned(rows: Sequence[Sequence[str]], escapes: Mapping[int, str], best: str) -> list[list[str]]:
    """Return the cells, escaped, each column of one width; the best of those that may be compared stand out."""
    told = [
        [best.format(cell.translate(escapes)) if isinstance(cell, Best) else cell.translate(escapes) for cell in row]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*told, strict=True)]
    return [list(map(str.ljust, row, widths)) for row in told]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; a key that some are without is empty there."""
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(key for row in rows for key in row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def table_width(columns: Mapping[str, Sequence[str]]) -> int:
    """Return how many characters wide `print_table` makes a table of these columns."""
    widths = [max(map(len, [*_broken(name).splitlines(), *cells])) for name, cells in columns.items()]
    return sum(widths) + 2 * len(widths)


def _broken(name: str) -> str:
    """Break a long head."""
    return name.replace("transductive", "trans-\nductive").replace(", ", "\n")


def print_table(head: list[str], rows: list[list[str]], notes: Sequence[str], form: str) -> None:
    """Print a table for the terminal, or as `as_text` writes it."""
    if form in ("md", "latex"):
        print(as_text(head, rows, notes, form), end="")
        return
    needed = table_width(dict(zip(head, zip(*rows, strict=True), strict=True)))
    console = console_of_any_width(needed)
    if len(rows) > LONG:
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        print("\n".join("  ".join(map(str.ljust, row, widths)) for row in [head, *rows]))
        console.print("\n".join(notes), highlight=False, style="dim")
        return
    fits = needed <= console.width
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in head:
        table.add_column(_broken(name), no_wrap=fits, overflow="fold")  # broken over lines, not cut
    for row in rows:
        table.add_row(*(f"[bold]{escape(cell)}[/]" if isinstance(cell, Best) else escape(cell) for cell in row))
    console.print(table)
    console.print("\n".join(notes), highlight=False, style="dim")


class Best(str):
    """The text of a table's cell that stands out: the best of those that may be compared."""
