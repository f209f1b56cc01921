"""How often the meta-test of a training was looked at: each time its weights are judged leaves a line in its folder.

Who may look several times can choose the figure that is liked best, such as by `test.seed`, or by training anew.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metarun.results.metrics import metric_of
from metarun.results.records import Record
from metarun.system.parsing import parse_json
from metarun.system.paths import is_file

log = logging.getLogger(__name__)

# What a figure is of: who looks at another setting learns something else. Not which tasks, and not how many.
SETTING = ("algo", "test_data", "data_hash", "test_way", "test_shot", "test_query", "steps", "interval")


def note_look(path: Path, record: Record) -> dict[str, int]:
    """Add a line for a row that is about to be written; return what the row says of looks.

    Args:
        path: `looks.jsonl` of the training whose weights were judged; nothing but a person ever removes it.
        record: the row.

    Returns:
        `looks`: how often these weights, and those that the same config was trained to before, were judged on
        meta-test classes, this time included; `figures_seen`: how many different figures, or tasks, that showed of
        this row's setting. A judging that is repeated to the same figure shows nothing new.
    """
    look = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "row": record["id"],
        **{key: record.get(key) for key in (*SETTING, "test_seed", "test_tasks", "stream_hash", "commit")},
        "figure": record[metric_of(record).key],
    }
    _append(path, json.dumps(look, allow_nan=False) + "\n")
    looks = [*_read(path)] or [look]
    alike = [other for other in looks if _setting(other) == _setting(look)]
    seen = {(str(other.get("stream_hash")), str(other.get("figure"))) for other in alike}
    if len(seen) > 1:
        log.warning(
            "this is look %d at the meta-test of this training, and it has shown %d figures in this setting: "
            "a figure that was chosen among several is too good",
            len(looks),
            len(seen),
        )
    return {"looks": len(looks), "figures_seen": max(1, len(seen))}


def _setting(look: Mapping[str, Any]) -> list[Any]:
    return [look.get(key) for key in SETTING]


def _append(path: Path, line: str) -> None:
    """One write at the end of the file, so that two tests of one run at a time lose no line."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)
    except OSError as error:
        log.warning("%s cannot be written (%s): this look at the meta-test is not counted", path, error.strerror)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines() if is_file(path) else []
    except OSError:
        return
    for line in lines:
        try:
            look = parse_json(line)
        except ValueError:  # a line that a crash cut off
            continue
        if isinstance(look, dict):
            yield look
