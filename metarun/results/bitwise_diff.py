"""Whether a run had again has the same numbers, bit for bit, and which differ by how much where it has not."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarun.errors import UserError
from metarun.results import checksums as sums
from metarun.results.record_schema import number
from metarun.results.records import CIRCUMSTANCES, TIMINGS
from metarun.results.run_directory import RunDirectory

Numbers = dict[str, list[Any]]  # by "file: key or column": one value, or all of a list or a column


@dataclass(frozen=True)
class Difference:
    """A key or a column that is not the same.

    Args:
        what: "file: key".
        before: what is the first to differ; None: it was not there.
        now: what it is now.
        count: how many values of the key or column differ.
        largest: how far two of them are apart at most; None where they are no numbers.
    """

    what: str
    before: Any
    now: Any
    count: int = 1
    largest: float | None = None


def numbers(run: RunDirectory) -> Numbers:
    """Read all that has to be the same when a finished run is had again: everything but timings and circumstances.

    Raises:
        UserError: a file is missing or damaged.
    """
    record = run.read_result()
    if record is not None and record["status"] == "failed":
        raise UserError(f"{run.path} failed ({record['reason'].rstrip('.')}): only a finished run can be repeated.")
    if record is None:
        raise UserError(f"{run.path} is no finished run", "finish it with `metarun train`.")
    found = {
        f"result.json: {key}": value if isinstance(value, list) else [value]
        for key, value in record.items()
        if key not in TIMINGS | CIRCUMSTANCES
    }
    for path in (run.tasks, run.curve):
        if path == run.tasks or path.is_file():  # a row of `metarun test` has no curve
            found |= {f"{path.name}: {column}": values for column, values in _columns(path).items()}
    return found


# Runs that were made before there were these are without them, which is no difference.
CAME_LATER = frozenset(
    (
        *("result.json: diverged", "result.json: val_diverged", "result.json: mse_median"),
        *("result.json: train_loss_first", "result.json: train_loss_last"),
        *("curve.csv: median", "curve.csv: diverged"),
    )
)


def _exactly(text: str) -> float:
    """Read a figure to the bit, which not every version of pandas does by itself."""
    return float(text) if text else math.nan


_EXACT = {"loss": _exactly, "accuracy": _exactly, "median": _exactly}


def _columns(path: Path) -> Numbers:
    import pandas as pd  # half a second that most commands do without

    try:
        sums.check(path)
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, converters=_EXACT)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({reason})", "make the run again with force=true.") from error
    return {str(column): table[column].tolist() for column in table if column not in TIMINGS}


def differences(before: Mapping[str, list[Any]], now: Mapping[str, list[Any]]) -> list[Difference]:
    """Return what differs between what `numbers` read of a run and of the same run had again."""
    return list(_differences(before, now))


def _differences(before: Mapping[str, list[Any]], now: Mapping[str, list[Any]]) -> Iterator[Difference]:
    for what in dict.fromkeys([*before, *now]):
        if what not in before and what in CAME_LATER:
            continue
        if what not in before or what not in now:
            yield Difference(what, _first(before, what), _first(now, what))
        elif len(before[what]) != len(now[what]):
            yield Difference(what, f"{len(before[what])} values", f"{len(now[what])} values")
        else:
            pairs = [pair for pair in zip(before[what], now[what], strict=True) if not _same(*pair)]
            if pairs:
                yield Difference(what, *pairs[0], len(pairs), _largest(pairs))


def _first(numbers: Mapping[str, list[Any]], what: str) -> Any:
    return next(iter(numbers.get(what, [])), None)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the bit; a missing figure of a curve is NaN, and as missing as another."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


def _largest(pairs: list[tuple[Any, Any]]) -> float | None:
    return max((abs(one - other) for one, other in pairs if number(one) and number(other)), default=None)
