"""Count meta-tests: each evaluation of a run's weights adds a line to a file in its directory.

Several results, such as with different `test.seed` or after retraining, allow picking the best, which is biased.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metarun.results.metrics import metric_of
from metarun.results.records import Record
from metarun.system.parsing import parse_json
from metarun.system.paths import is_file

log = logging.getLogger(__name__)

# Results are compared within a setting: not which tasks, and not how many.
SETTING = (
    *("algo", "test_data", "data_hash", "test_way", "test_shot", "test_query", "test_within", "test_across"),
    *("test_imbalance", "steps", "interval"),
)


def record_test_use(path: Path, record: Record) -> dict[str, int]:
    """Add a line for a record that is about to be written; return the keys to add to the record.

    Args:
        path: `looks.jsonl` of the run whose weights were tested; metarun never removes it.
        record: without these keys.

    Returns:
        `looks`: how often weights of this config were evaluated on meta-test classes, including this time, also before
        retraining; `figures_seen`: how many different results or task sets this has shown in the record's setting.
        Repeating a test with the same result does not count.
    """
    use = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "row": record["id"],
        **{key: record.get(key) for key in (*SETTING, "test_seed", "test_tasks", "stream_hash", "commit")},
        "figure": record[metric_of(record).key],
    }
    _append(path, json.dumps(use, allow_nan=False) + "\n")
    uses = [*_read(path)] or [use]
    alike = [other for other in uses if _setting(other) == _setting(use)]
    seen = {(str(other.get("stream_hash")), str(other.get("figure"))) for other in alike}
    if len(seen) > 1:
        log.warning(
            "this run was meta-tested %d times with %d results in this setting; picking the best is biased",
            len(uses),
            len(seen),
        )
    return {"looks": len(uses), "figures_seen": max(1, len(seen))}


def _setting(use: Mapping[str, Any]) -> list[Any]:
    return [use.get(key) for key in SETTING]


def _append(path: Path, line: str) -> None:
    """Append with a single write, so that concurrent tests of one run lose no line."""
    try:
        with path.open("ab", buffering=0) as file:
            file.write(line.encode())
    except OSError as error:
        log.warning("%s cannot be written (%s); this meta-test is not counted", path, error.strerror)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines() if is_file(path) else []
    except OSError:
        return
    for line in lines:
        try:
            use = parse_json(line)
        except ValueError:  # a line cut off by a crash
            continue
        if isinstance(use, dict):
            yield use
