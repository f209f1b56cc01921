"""Compare the numbers of two executions of a run, bit for bit."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarun.errors import UserError
from metarun.results import checksums
from metarun.results.record_schema import number
from metarun.results.records import CIRCUMSTANCES, TIMINGS
from metarun.results.run_directory import RunDirectory

Numbers = dict[str, list[Any]]  # by "file: key or column": one value, or all values of a list or column


@dataclass(frozen=True)
class Difference:
    """A key or column that differs.

    Args:
        what: "file: key".
        before: the first value that differs; None if it was missing.
        now: the new value.
        count: how many values of the key or column differ.
        largest: the largest absolute difference; None if the values are not numbers.
    """

    what: str
    before: Any
    now: Any
    count: int = 1
    largest: float | None = None


def read_numbers(run: RunDirectory) -> Numbers:
    """Read everything that a repeated run must reproduce: all but timings and circumstances.

    Raises:
        UserError: a file is missing or damaged.
    """
    record = run.read_result()
    if record is not None and record["status"] == "failed":
        raise UserError(f"{run.path} failed ({record['reason'].rstrip('.')})", "only a finished run can be repeated.")
    if record is None:
        raise UserError(f"{run.path} is not a finished run", "finish it with `metarun train`.")
    found = {
        f"result.json: {key}": value if isinstance(value, list) else [value]
        for key, value in record.items()
        if key not in TIMINGS | CIRCUMSTANCES
    }
    for path in (run.tasks, run.curve):
        if path == run.tasks or path.is_file():  # a run of `metarun test` has no curve
            found |= {f"{path.name}: {column}": values for column, values in _columns(path).items()}
    return found


# Added in later versions; earlier runs do not have them, which is not a difference.
ADDED_KEYS = frozenset(
    (
        *("result.json: diverged", "result.json: val_diverged", "result.json: mse_median"),
        *("result.json: train_loss_first", "result.json: train_loss_last"),
        *("curve.csv: median", "curve.csv: diverged"),
        *(f"result.json: {key}" for figure in ("nll", "brier", "ece") for key in (figure, f"{figure}_ci95")),
    )
)


def _exactly(text: str) -> float:
    """Parse a number exactly, which not every version of pandas does."""
    return float(text) if text else math.nan


_EXACT = {"loss": _exactly, "accuracy": _exactly, "median": _exactly}


def _columns(path: Path) -> Numbers:
    import pandas as pd  # takes half a second, and most commands do not need it

    with checksums.reading(path, "run it again with force=true."):
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, converters=_EXACT)
    return {str(column): table[column].tolist() for column in table if column not in TIMINGS}


def compare_numbers(before: Numbers, now: Numbers) -> list[Difference]:
    """Return the differences between the numbers of a run and of its repetition, as `read_numbers` returns them."""
    found = []
    for what in dict.fromkeys([*before, *now]):
        if what not in before or what not in now:
            if what in before or what not in ADDED_KEYS:
                first, other = (next(iter(numbers.get(what, [])), None) for numbers in (before, now))
                found.append(Difference(what, first, other))
        elif len(before[what]) != len(now[what]):
            found.append(Difference(what, f"{len(before[what])} values", f"{len(now[what])} values"))
        elif pairs := [pair for pair in zip(before[what], now[what], strict=True) if not _same(*pair)]:
            found.append(Difference(what, *pairs[0], len(pairs), _largest(pairs)))
    return found


def _same(one: Any, other: Any) -> bool:
    """Whether two values are bitwise equal; NaN, a missing value of a curve, equals NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


def _largest(pairs: list[tuple[Any, Any]]) -> float | None:
    return max((abs(one - other) for one, other in pairs if number(one) and number(other)), default=None)
