"""Paired comparisons of configurations, over their seeds where both have several, and the headline in words."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from scipy.special import stdtrit

from metarun.errors import UserError
from metarun.reporting.configurations import Configuration, setting_title
from metarun.reporting.interval_rows import equals
from metarun.reporting.significance import LEVEL, comparisons_each, holm, over_seeds, paired_t
from metarun.reporting.tables.flags import same_tasks
from metarun.reporting.tables.render import p_text

Outcome = Literal["win", "tie", "loss"]


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of two configurations, one of several.

    Args:
        difference: of their means, the first minus the second.
        half: half-width of its interval at the level 1 - 0.05 / k, with k Holm's factor, for new tasks, and for new
            trainings too if `over_seeds`.
        p: two-sided, corrected (Holm).
        outcome: of the first, at 0.05.
        over_seeds: whether both have several seeds.
    """

    difference: float
    half: float
    p: float
    outcome: Outcome
    over_seeds: bool

    @property
    def reversed(self) -> "Comparison":
        """The same comparison of the second with the first."""
        other: Mapping[Outcome, Outcome] = {"win": "loss", "tie": "tie", "loss": "win"}
        return Comparison(-self.difference, self.half, self.p, other[self.outcome], self.over_seeds)


Pairs = Mapping[tuple[int, int], Comparison]


def compare_all(found: Sequence[Configuration]) -> Pairs:
    """Compare all pairs of configurations that were tested on the same tasks and have readable values for each.

    Returns:
        By their places, in both orders; corrected for the number of pairs.
    """
    tests = {
        (i, j): test for i, j in combinations(range(len(found)), 2) if (test := _test(found[i], found[j])) is not None
    }
    p_values = [test.p for test in tests.values()]
    pairs: dict[tuple[int, int], Comparison] = {}
    for ((i, j), test), p, factor in zip(tests.items(), holm(p_values), comparisons_each(p_values), strict=True):
        gain = found[i].metric.score(test.difference)
        outcome: Outcome = "tie" if p >= LEVEL else "win" if gain > 0 else "loss"
        half = float(stdtrit(test.degrees, 1 - LEVEL / factor / 2)) * test.error
        pairs[i, j] = Comparison(test.difference, half, p, outcome, test.over_seeds)
        pairs[j, i] = pairs[i, j].reversed
    return pairs


@dataclass(frozen=True)
class _Test:
    difference: float
    error: float
    degrees: float
    p: float
    over_seeds: bool


def _test(one: Configuration, other: Configuration) -> _Test | None:
    if same_tasks([*one.runs, *other.runs]) is None:
        return None
    try:
        values = one.values, other.values
    except UserError:  # a file is unreadable, or tasks without a value
        return None
    tasks = values[0].shape[1]
    if tasks < 2:
        return None
    if min(len(one.runs), len(other.runs)) > 1:
        found = over_seeds(*values)
        return _Test(found.difference, found.error, found.degrees, found.p, over_seeds=True)
    differences = values[0].mean(0) - values[1].mean(0)
    error = float(differences.std(ddof=1)) / math.sqrt(tasks)
    return _Test(float(differences.mean()), error, tasks - 1, paired_t(differences), over_seeds=False)


def headline(found: Sequence[Configuration], pairs: Pairs) -> str | None:
    """Say in a sentence whether the best method of a setting is better than the best of another one, and by how much.

    Args:
        found: the configurations of the setting, the best first.
        pairs: their comparisons.

    Returns:
        None for a single configuration.
    """
    places = headline_places(found)
    if not places:
        return None
    first, second = places
    best, other, pair = found[first], found[second], pairs.get((first, second))
    unlike = "; ".join(_unlike(best, other))
    return f"{setting_title(found)}: {_verdict(best, other, pair)}{f'; not like for like: {unlike}' if unlike else ''}."


def headline_places(found: Sequence[Configuration]) -> tuple[int, ...]:
    """Return the places of the two that the headline compares; none for a single configuration."""
    if len(found) < 2:
        return ()
    method = found[0].runs[0]["algo"]
    return 0, next((i for i, each in enumerate(found) if each.runs[0]["algo"] != method), 1)


def _verdict(best: Configuration, other: Configuration, pair: Comparison | None) -> str:
    metric, names = best.metric, (best.name, other.name)
    unit = "points" if metric.scale == 100 else f"in {metric.key}"
    for each in (best, other):
        if not each.is_complete:
            return f"{names[0]} and {names[1]} are not compared, because {each.name} diverged on some tasks"
    if pair is None:
        ahead = metric.fixed(abs(best.mean - other.mean))
        return f"{names[0]} is ahead of {names[1]} by {ahead} {unit}, untested (other tasks, or missing files)"
    by = f"{metric.fixed(abs(pair.difference))} ± {metric.fixed(pair.half)} {unit}"
    seeds = [len(best.runs), len(other.runs)]
    over = f"{seeds[0]} and {seeds[1]} seeds" if seeds[0] != seeds[1] else f"{seeds[0]} seeds each"
    basis = f"p {equals(p_text(pair.p))}, {f'over {over}' if pair.over_seeds else 'for these trainings only'}"
    if pair.outcome == "tie":
        return f"{names[0]} and {names[1]} cannot be told apart; the difference is {by} ({basis})"
    return f"{names[0]} beats {names[1]} by {by} ({basis})"


def _unlike(one: Configuration, other: Configuration) -> Iterator[str]:
    """Say in what two configurations differ that makes their comparison unfair."""
    first, second = one.runs[0], other.runs[0]
    if first["transductive"] != second["transductive"]:
        yield f"{one.name if first['transductive'] else other.name} is transductive"
    words = {"iterations": "outer steps", "train_way": "classes per training task", "backbone": "as the backbone"}
    for key, meaning in words.items():
        values = first.get(key), second.get(key)
        if None not in values and values[0] != values[1]:
            yield f"{values[0]} against {values[1]} {meaning}"
    parameters = [record.get("parameters", 0) for record in (first, second)]
    if all(parameters) and max(parameters) > 1.1 * min(parameters):
        yield f"{parameters[0]:,} against {parameters[1]:,} parameters"
