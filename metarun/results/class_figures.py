"""Read `classes.json`: the accuracy of each class, and the pairs of classes most often mixed up."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarun.results import checksums
from metarun.results.record_schema import number
from metarun.system.parsing import parse_json

LARGEST = 1 << 26  # bytes


@dataclass(frozen=True)
class ClassFigures:
    """Figures after the last step.

    Args:
        classes: name, accuracy and number of queries of each, the worst first.
        mixed_up: class, predicted class, and the share of the class's queries, in tasks with both, of ten pairs.
    """

    classes: list[tuple[str, float, int]]
    mixed_up: list[tuple[str, str, float]]


def read_classes(path: Path) -> ClassFigures:
    """Read the file.

    Raises:
        UserError: its checksum is wrong.
        ValueError: its content is invalid.
    """
    content = parse_json(checksums.read(path, LARGEST) or b"")
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    return ClassFigures(
        _rows(content.get("classes"), _text, number, number), _rows(content.get("mixed_up"), _text, _text, number)
    )


def _text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _rows(value: Any, *kinds: Callable[[Any], bool]) -> list[Any]:
    rows: list[Any] = value if isinstance(value, list) else [None]
    for row in rows:
        same = isinstance(row, list) and len(row) == len(kinds)
        if not same or not all(kind(each) for kind, each in zip(kinds, row, strict=True)):
            raise ValueError("a row is invalid")
    return [tuple(row) for row in rows]
