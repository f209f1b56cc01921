"""How examples are shown to people: texts as themselves, rows by their columns, sounds as spectrograms."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metarun.data.tables.table_columns import Column, from_json
from metarun.system.hash_cache import read_cache, write_cache


@dataclass(frozen=True)
class Display:
    """What the numbers of an example do not tell. By default they are pictures, or points of a function.

    Args:
        sound: maps are of frequency and time, low frequencies first.
        texts: of each meta-test example, in order; (): they are not texts.
        inputs: the columns that the numbers of an example are made of; (): they are no row of a table.
        targets: likewise of what is predicted of a row.
        axis: the column that rows are drawn along, such as the time; "": the first numeric one that varies.
        vectors: what the numbers of an example are called, such as "TF-IDF"; "": raw inputs.
    """

    sound: bool = False
    texts: Sequence[str] = ()
    inputs: Sequence[Column] = ()
    targets: Sequence[Column] = ()
    axis: str = ""
    vectors: str = ""


def write_display(path: Path, key: str, display: Display) -> None:
    """Write a display beside the cache with this key; do nothing if the folder is not writable."""
    write_cache(path, {"key": key, **asdict(display)})


def read_display(path: Path, key: str) -> Display:
    """Return what `write_display` wrote; the default if the file is missing, damaged or of another cache."""
    content: Mapping[str, Any] = read_cache(path)
    if content.get("key") != key:
        return Display()
    try:
        return Display(
            sound=bool(content["sound"]),
            texts=tuple(map(str, content["texts"])),
            inputs=from_json(content["inputs"]),
            targets=from_json(content["targets"]),
            axis=str(content["axis"]),
            vectors=str(content.get("vectors", "")),
        )
    except (KeyError, TypeError, ValueError):
        return Display()
