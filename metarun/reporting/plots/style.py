"""The style of all figures, and writing them so that the same numbers give the same bytes."""

import textwrap
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from metarun.errors import UserError
from metarun.system.atomic_write import write_bytes

FONT = "DejaVu Sans"  # shipped with matplotlib
FORMATS = ("png", "svg", "pdf")
COLUMN = 3.3  # inches, one column of a two-column paper
GREY = "0.35"
SMALL, NORMAL = 6.5, 7.5  # points
LINE = 0.13  # inches, the line height of small text
HINTED = 1.08  # how much wider than `text_width` a line is at a low resolution, at most

STYLE: dict[Any, Any] = {
    **{"font.family": FONT, "font.size": NORMAL, "axes.titlesize": NORMAL, "axes.labelsize": NORMAL},
    **{"xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "legend.fontsize": SMALL},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6},
    **{"xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5},
    "pdf.fonttype": 42,  # TrueType, as publishers require: text stays text
    "svg.fonttype": "none",  # the same in SVG
    "svg.hashsalt": "metarun",  # otherwise element ids are random
    "text.parse_math": False,  # a $ in a path is not math
    "savefig.dpi": 300,
}
# No date and no version in the file.
METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}


def figure_format(path: Path, flag: str = "-o") -> str:
    """Return the format of a figure's file, one of `FORMATS`, by its suffix.

    Args:
        path: of the file.
        flag: which gave the path, for the error.

    Raises:
        UserError: the suffix is unknown.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise UserError(f"{flag} {path}: unknown format", f"the suffix must be one of {', '.join(FORMATS)}.")
    return form


def write_figure(path: Path, draw: Callable[[], Figure], flag: str = "-o") -> None:
    """Write the figure that `draw` returns to a file, atomically.

    Args:
        path: of the file; its suffix is one of `FORMATS`.
        draw: makes the figure.
        flag: which gave the path, for errors.

    Raises:
        UserError: the suffix is unknown, or the file cannot be written.
    """
    form = figure_format(path, flag)
    content = BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()  # the user's matplotlibrc would change the bytes
        mpl.rcParams.update(STYLE)
        draw().savefig(content, format=form, metadata=METADATA[form])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.getvalue())
    except (OSError, UserError) as error:
        reason = error.problem if isinstance(error, UserError) else f"{path} cannot be written ({error.strerror})"
        raise UserError(reason, f"choose another file with {flag}.") from None


def text_width(text: str) -> float:
    """Return the width in inches of a line of small text."""
    path = TextPath((0, 0), text, size=SMALL, prop=FontProperties(family=FONT))
    return float(path.get_extents().x1) / 72


def wrapped(text: str, inches: float) -> str:
    """Wrap a line of small text to a width in inches, at spaces or after ``key=``."""
    letters = max(8, int(inches * 72 / (0.58 * SMALL)))
    return textwrap.fill(text.replace("=", "= "), letters).replace("= ", "=")


def note_lines(notes: Sequence[str], width: float) -> list[str]:
    """Return notes as lines that fit a figure of a width in inches."""
    return [line for note in notes for line in wrapped(note, width - 0.1).splitlines()]


def write_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Write lines at the foot of a figure, which must reserve `LINE` inches for each."""
    text = "\n".join(notes)
    figure.text(0.05 / figure.get_figwidth(), 0.04 / figure.get_figheight(), text, size=SMALL, color=GREY, va="bottom")
