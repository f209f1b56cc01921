"""Render tables for the terminal, Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metarun.errors import printable

FORMATS = ("table", "csv", "md", "latex", "json")
NARROWEST = 14  # characters of a column that is wrapped
LONG = 500  # rows; rich takes seconds for more
IN_LATEX = str.maketrans(
    {
        **{sign: rf"\{sign}" for sign in "&%$#_{}"},
        **{"^": r"\^{}", "~": r"\textasciitilde{}", "\\": r"\textbackslash{}"},
        **{"<": r"\ensuremath{<}", ">": r"\ensuremath{>}", "≈": r"$\approx$"},
        **{"∞": r"$\infty$", "×": r"$\times$", "↓": r"$\downarrow$", "∅": r"$\emptyset$"},
        **{"≠": r"$\neq$", "→": r"$\rightarrow$"},
    }
)
FIGURE = re.compile(r"(-?\d+)(?:\.(\d+))?( [^A-Za-z].*)?")  # digits, decimals, and such as " ± 0.31 †"
OPTIONAL_IN_LATEX = re.compile(r"^(\s*)([\[*])")  # at the start of a row, an argument of the \\ or \midrule before
IN_MARKDOWN = str.maketrans({"|": r"\|"})


def p_text(p: float) -> str:
    """Format a p-value."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def console_of_any_width(needed: int = 0) -> Console:
    """The terminal, or a console at least `needed` wide if the output is a file or pipe: rich would use 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=max(200, needed))


def print_skipped(reason: str) -> None:
    """Print on stderr what is skipped and why."""
    one_line = printable(" ".join(f"skipped: {reason}".split()))
    Console(stderr=True).print(one_line, style="yellow", highlight=False, markup=False, soft_wrap=True)


def as_text(head: list[str], rows: list[list[str]], notes: Sequence[str], form: str) -> str:
    """Return a table in Markdown, with notes below it, or in LaTeX (booktabs, siunitx), with notes as a comment."""
    if form == "md":
        bold = [
            [
                f"**{cell.translate(IN_MARKDOWN)}**" if isinstance(cell, Best) else cell.translate(IN_MARKDOWN)
                for cell in row
            ]
            for row in [head, *rows]
        ]
        names, *lines = _padded(bold)
        below = [f":{'-' * max(1, len(name) - 1)}" for name in names]
        text = "\n".join(f"| {' | '.join(line)} |" for line in (names, below, *lines))
        return f"{text}\n\n{' '.join(notes)}\n"
    formats = [_latex_column(cells) for cells in zip(*rows, strict=True)]
    kinds = [kind for kind, _ in formats]
    names = [
        rf"{{{name.translate(IN_LATEX)}}}" if kind != "l" else name.translate(IN_LATEX)
        for name, kind in zip(head, kinds, strict=True)
    ]
    cells = [[write(cell) for (_, write), cell in zip(formats, row, strict=True)] for row in rows]
    lines = _padded([names, *cells])
    top, *body = (OPTIONAL_IN_LATEX.sub(r"\1{\2}", rf"{' & '.join(line)} \\") for line in lines)
    table = [rf"\begin{{tabular}}{{{''.join(kinds)}}}", r"\toprule", top, r"\midrule", *body, r"\bottomrule"]
    packages = r"\usepackage{booktabs}" + r"\usepackage{siunitx}" * any(kind != "l" for kind in kinds)
    return "\n".join([f"% {packages}", f"% {' '.join(notes)}", *table, r"\end{tabular}", ""])


def _latex_column(cells: Sequence[str]) -> tuple[str, Callable[[str], str]]:
    """Return the kind of a column, and how its cells are written: decimal points are below each other in `S`."""
    matches = [found for cell in cells if (found := FIGURE.fullmatch(cell))]
    if not any(found[2] for found in matches) or any(cell != "–" and not FIGURE.fullmatch(cell) for cell in cells):
        return "l", _in_latex
    digits, decimals = (max(len(found[i] or "") for found in matches) for i in (1, 2))
    behind = max((found[3] or "" for found in matches), key=len).translate(IN_LATEX)
    space = f", table-space-text-post={{{behind}}}" if behind else ""
    return f"S[table-format={digits}.{decimals}, detect-weight{space}]", _in_decimal_column


def _in_latex(cell: str) -> str:
    text = cell.translate(IN_LATEX)
    return rf"\textbf{{{text}}}" if isinstance(cell, Best) else text


def _in_decimal_column(cell: str) -> str:
    found = FIGURE.fullmatch(cell)
    if found is None:
        return f"{{{cell.translate(IN_LATEX)}}}"
    bold = r"\bfseries " if isinstance(cell, Best) else ""
    behind = (found[3] or "").translate(IN_LATEX)
    return f"{bold}{cell[: found.end(2) if found[2] else found.end(1)]}" + (f" {{{bold}{behind}}}" if behind else "")


def _padded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Pad the cells so that each column has one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [list(map(str.ljust, row, widths)) for row in rows]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; missing keys are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(key for row in rows for key in row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def table_width(columns: Mapping[str, Sequence[str]]) -> int:
    """Return the width in characters of a table with these columns, as `print_table` prints it."""
    widths = [max(map(len, [*_broken(name).splitlines(), *cells])) for name, cells in columns.items()]
    return sum(widths) + 2 * len(widths)


def _broken(name: str) -> str:
    """Break a long column name into lines."""
    return name.replace("transductive", "trans-\nductive").replace(", ", "\n")


def print_table(head: list[str], rows: list[list[str]], notes: Sequence[str], form: str) -> None:
    """Print a table for the terminal, or in the format of `as_text`."""
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
    widths = [table_width({name: cells}) for name, *cells in zip(head, *rows, strict=True)]
    widest = max(widths)
    folds = widest if widest - (needed - console.width) >= NARROWEST else 0  # only the widest column, if that suffices
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, width in zip(head, widths, strict=True):
        no_wrap = needed <= console.width or width < folds
        table.add_column(_broken(name), no_wrap=no_wrap, overflow="fold")  # wrapped, not truncated
    for row in rows:
        table.add_row(*(f"[bold]{escape(cell)}[/]" if isinstance(cell, Best) else escape(cell) for cell in row))
    console.print(table)
    console.print("\n".join(notes), highlight=False, style="dim")


class Best(str):
    """The text of a cell in bold: the best of those that may be compared."""
