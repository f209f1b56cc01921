"""The rows of forest plots and of rank charts: a value with its intervals and its text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metarun.reporting.configurations import Configuration, marked_name
from metarun.reporting.tables.render import p_text

if TYPE_CHECKING:
    from metarun.reporting.ranks import Ranks

RANKS = (
    "Thick lines: half the critical difference to each side (Nemenyi, 0.05; Demšar 2006); two methods differ if their "
    "thick lines do not overlap. Thin lines: 95 % bootstrap interval over settings."
)


@dataclass(frozen=True)
class Row:
    """One method.

    Args:
        label: its name.
        value: of the dot.
        thick: low and high end of the thick line; None: no such line.
        thin: of the thin line.
        text: the numbers on the right.
    """

    label: str
    value: float
    thick: tuple[float, float] | None
    thin: tuple[float, float] | None
    text: str


def forest_row(each: Configuration) -> Row:
    """Return the result of a configuration with its intervals over tasks, and over tasks and trainings."""
    metric, mean = each.metric, each.mean
    tasks, trainings = (
        None if half is None else (metric.scale * (mean - half), metric.scale * (mean + half)) for half in each.halves
    )
    half = each.halves[0 if trainings is None else 1]
    text = metric.fixed(mean) + ("" if half is None else f" ± {metric.fixed(half)}")
    seeds = f", n = {len(each.runs)}" if len(each.runs) > 1 else ""
    return Row(marked_name(each), metric.scale * mean, tasks, trainings, text + seeds)


def rank_rows(names: Sequence[str], ranks: "Ranks") -> list[Row]:
    """Return the average rank of each method, the best first."""
    halves = ranks.critical / 2
    return [
        Row(
            names[i],
            float(ranks.average[i]),
            (float(ranks.average[i] - halves), float(ranks.average[i] + halves)),
            (float(ranks.average_ci95[i, 0]), float(ranks.average_ci95[i, 1])),
            f"{ranks.average[i]:.2f}, wins {100 * ranks.wins[i]:.0f} %",
        )
        for i in ranks.average.argsort(kind="stable")
    ]


def friedman_text(ranks: "Ranks") -> str:
    """Write the p-value of the Friedman test."""
    return f"Friedman test: p {equals(p_text(ranks.p))}"


def equals(p: str) -> str:
    """Write a p-value of `p_text` after "p": "= 0.012" or "< 0.001"."""
    return p.replace("<", "< ") if p.startswith("<") else f"= {p}"
