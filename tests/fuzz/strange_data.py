"""Strategies for tables, texts and recordings: valid files of each format, with cells and bytes of other kinds."""

import csv
import gzip
import json
from functools import cache
from io import BytesIO, StringIO
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from pyarrow import parquet

from tests.fuzz.strange import FOREIGN, SCALARS, TEXTS, VALUES, spoilt

CLASSES = 8  # two for meta-val and meta-test each, the rest for meta-train
COLUMNS = ("label", "text", "x", "colour", "when", "split", "filename")
CELLS = st.one_of(
    SCALARS,
    st.sampled_from(
        ["", " ", "NA", "inf", "-inf", "nan", "1e999", "1,5", "2024-01-31", "2024-13-45", "train", "val", "0x1F", '"']
    ),
)


def rows() -> list[dict[str, Any]]:
    """Four rows of each class."""
    return [
        {
            "label": f"class{c}",
            "text": f"word{c} number {i}",
            "x": c + 0.1 * i,
            "colour": ("red", "green")[i % 2],
            "when": f"2024-01-{i + 1:02}",
            "split": ("train", "val", "test", "train")[c % 4],
            "filename": f"class{c}/{i}.wav",
        }
        for c in range(CLASSES)
        for i in range(4)
    ]


@st.composite
def strange_rows(draw: Any) -> list[dict[str, Any]]:
    """Rows of which some cells, columns or whole rows differ."""
    found = rows()
    for _ in range(draw(st.integers(0, 3))):
        at, column = draw(st.integers(0, len(found) - 1)), draw(st.sampled_from(COLUMNS))
        found[at][column] = draw(CELLS)
    if draw(st.integers(0, 5)) == 0:
        column, cells = draw(st.sampled_from(COLUMNS)), draw(st.lists(CELLS, min_size=1, max_size=3))
        found = [{**row, column: cells[i % len(cells)]} for i, row in enumerate(found)]
    if draw(st.integers(0, 5)) == 0:
        old, new = draw(st.sampled_from(COLUMNS)), draw(st.one_of(st.sampled_from(COLUMNS), TEXTS))
        found = [{new if key == old else key: value for key, value in row.items()} for row in found]
    if draw(st.integers(0, 5)) == 0:
        found = found[: draw(st.integers(0, len(found)))] * draw(st.integers(1, 2))
    return found


def as_csv(found: list[dict[str, Any]], separator: str = ",") -> bytes:
    stream = StringIO(newline="")
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in found for key in row)), delimiter=separator)
    writer.writeheader()
    writer.writerows(found)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def as_json_lines(found: list[dict[str, Any]]) -> bytes:
    escaped = len(str(found)) % 2 == 0  # "\\ud800" is ASCII, and no character
    lines = (json.dumps(row, ensure_ascii=escaped, default=str) for row in found)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def as_parquet(found: list[dict[str, Any]]) -> bytes:
    """Return a Parquet file; columns whose cells are of several types become texts."""
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(key for row in found for key in row):
        cells = [row.get(name) for row in found]
        try:
            columns[_clean(name)] = pa.array(cells)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            columns[_clean(name)] = pa.array([_clean(str(cell)) for cell in cells])
    stream = BytesIO()
    parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()


FORMATS = {
    ".csv": as_csv,
    ".tsv": lambda found: as_csv(found, "\t"),
    ".csv.gz": lambda found: gzip.compress(as_csv(found)),
    ".jsonl": as_json_lines,
    ".jsonl.gz": lambda found: gzip.compress(as_json_lines(found)),
    ".parquet": as_parquet,
}


@st.composite
def strange_tables(draw: Any, suffixes: tuple[str, ...]) -> tuple[str, bytes]:
    """A suffix and the content of a file with it; sometimes of another format."""
    suffix = draw(st.sampled_from(suffixes))
    write = FORMATS.get(suffix, as_csv)
    whole = strange_rows().map(write)
    return suffix, draw(st.one_of(whole, whole, spoilt(whole), FOREIGN))


@cache
def sound(kind: str, rate: int = 8_000, channels: int = 1, seconds: float = 0.1, subtype: str | None = None) -> bytes:
    """A recording of a tone."""
    import soundfile

    tone = np.sin(np.arange(round(seconds * rate)) / 5)[:, None].repeat(channels, 1)
    stream = BytesIO()
    soundfile.write(stream, 0.5 * tone, rate, format=kind, subtype=subtype)
    return stream.getvalue()


def sounds() -> list[bytes]:
    """Recordings of several formats, rates, lengths and numbers of channels, a silent and a broken one."""
    import soundfile

    broken, silent = BytesIO(), BytesIO()
    soundfile.write(broken, np.array([0.1, np.nan, np.inf] * 300), 8_000, format="WAV", subtype="FLOAT")
    soundfile.write(silent, np.zeros(800), 8_000, format="WAV")
    return [
        *(sound(kind) for kind in ("WAV", "FLAC", "OGG", "AIFF", "AU")),
        *(sound("WAV", rate) for rate in (1, 100, 4_000, 44_100, 2**31 - 1)),
        *(sound("WAV", 8_000, channels) for channels in (2, 8)),
        *(sound("WAV", 8_000, 1, seconds) for seconds in (0.0, 0.001, 2.0)),
        *(sound("WAV", 8_000, 1, 0.1, subtype) for subtype in ("PCM_U8", "PCM_24", "FLOAT", "DOUBLE")),
        broken.getvalue(),
        silent.getvalue(),
    ]


@st.composite
def strange_sounds(draw: Any) -> dict[str, bytes]:
    """A folder of recordings by class of which some are strange."""
    files = {f"class{c}/{i}.wav": sound("WAV") for c in range(CLASSES) for i in range(2)}
    whole = st.sampled_from(sounds())
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.one_of(st.sampled_from(sorted(files)), st.builds("{}/{}.flac".format, TEXTS, TEXTS)))
        files[name] = draw(st.one_of(whole, spoilt(whole), spoilt(whole), FOREIGN))
    return files


ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "split_column": st.sampled_from(["split", "colour", "label", "spilt"]),
        "split_seed": st.integers(0, 3),
        "storage": st.sampled_from(["memory", "disk"]),
    },
)
METADATA = VALUES  # of a file beside a cache
