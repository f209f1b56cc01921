"""What every figure has in common: its looks, its margins in inches, and that the same numbers give the same bytes."""

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

FONT = "DejaVu Sans"  # which comes with matplotlib
FORMATS = ("png", "svg", "pdf")
COLUMN = 3.3  # inches, of a paper set in two columns
GREY = "0.35"
SMALL, NORMAL = 6.5, 7.5  # points
LINE = 0.13  # inches from one line of small text to the next

STYLE: dict[Any, Any] = {
    **{"font.family": FONT, "font.size": NORMAL, "axes.titlesize": NORMAL, "axes.labelsize": NORMAL},
    **{"xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "legend.fontsize": SMALL},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6},
    **{"xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5},
    "pdf.fonttype": 42,  # TrueType, as publishers ask: text stays text
    "svg.fonttype": "none",  # the same in SVG
    "svg.hashsalt": "metarun",  # else the names of its elements are drawn by lot
    "text.parse_math": False,  # a $ in a path is a $
    "savefig.dpi": 300,
}
# No date and no version in the file.
METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}


def write_figure(path: Path, draw: Callable[[], Figure]) -> None:
    """Write what `draw` returns to a file, atomically; its suffix is one of `FORMATS`.

    Raises:
        UserError: another suffix, or a place that cannot be written to.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise UserError(f"-o {path}: the suffix says the format, which is one of {', '.join(FORMATS)}.")
    content = BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()  # a matplotlibrc of the user's would change the bytes
        mpl.rcParams.update(STYLE)
        draw().savefig(content, format=form, metadata=METADATA[form])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.getvalue())
    except (OSError, UserError) as error:
        reason = error.problem if isinstance(error, UserError) else f"{path} cannot be written ({error.strerror})"
        raise UserError(f"{reason}", "name another with -o.") from None


def text_width(text: str) -> float:
    """Return how many inches a line of small text takes."""
    path = TextPath((0, 0), text, size=SMALL, prop=FontProperties(family=FONT))
    return float(path.get_extents().x1) / 72


def wrapped(text: str, inches: float) -> str:
    """Break a line of small text so that it fits into a width, where it has a space or after ``key=``."""
    letters = max(8, int(inches * 72 / (0.58 * SMALL)))
    return textwrap.fill(text.replace("=", "= "), letters).replace("= ", "=")


def write_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Write lines at the foot of a figure, which has left them `LINE` inches each."""
    text = "\n".join(notes)
    figure.text(0.05 / figure.get_figwidth(), 0.04 / figure.get_figheight(), text, size=SMALL, color=GREY, va="bottom")
