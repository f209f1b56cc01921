"""Data sets whose examples are the outputs of an encoder, computed once and cached."""

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from metarun.data.display import Display
from metarun.data.examples import SPLITS, ClassDataset, Examples, Split, Values
from metarun.data.files.cache import load_or_build
from metarun.data.files.cache_file import ExampleStream
from metarun.errors import UserError
from metarun.system.atomic_write import write_bytes
from metarun.system.paths import data_root
from metarun.system.progress import OnProgress

BLOCK = 256  # examples that are encoded, and stored, at once
_SORTED = 16 * BLOCK  # texts that are sorted by length before they are cut into blocks


@dataclass(frozen=True)
class EncoderOutputs:
    """What is computed of each example.

    Args:
        key: identifies it: equal keys mean equal outputs.
        name: of the encoder, in messages and tables.
        encode: maps raw examples to arrays of `dtype` and `shape`, each by itself.
        dtype: of the outputs.
        shape: of one output; () of a structured dtype.
        id_sizes: as of `ClassDataset`.
    """

    key: str
    name: str
    encode: Callable[[Values], Values]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    id_sizes: dict[str, int]


def encoded_dataset(data: ClassDataset, encoding: EncoderOutputs, on_progress: OnProgress) -> ClassDataset:
    """Return a data set with the same classes and hash, whose examples are encoded.

    Each example is encoded once; an interrupted encoding resumes where it stopped. Where the examples are a memory
    map, so are the outputs.

    Args:
        data: the raw examples.
        encoding: what is computed.
        on_progress: called with how many examples of all are encoded, if any have to be.
    """
    counts = {split: len(data.splits[split].values) for split in SPLITS}

    def load(part: str, raw: Examples, on_progress: Callable[[int], None]) -> Examples:
        return encoded_examples(data.name, part, f"{data.hash}|{_content(part, raw)}", encoding, raw, on_progress)

    def encoded(split: Split, before: int) -> Examples:
        raw = data.splits[split]
        return load(split, raw, lambda here: on_progress(before + here, sum(counts.values())))

    before = accumulate(counts.values(), initial=0)
    splits = {split: encoded(split, done) for split, done in zip(SPLITS, before, strict=False)}
    more = data.out_of_scope
    if more is not None:
        of_none = Examples(more, np.array([0, len(more)]), ("out of scope",))
        more = load("out-of-scope", of_none, lambda _: None).values

    def display() -> Display:
        return replace(data.display(), vectors=f"{encoding.name} vectors" if encoding.shape else "tokens")

    return replace(
        data,
        splits=splits,
        out_of_scope=more,
        floor_vectors="raw",
        id_sizes=encoding.id_sizes,
        encoded_from=data.hash,
        display=display,
    )


def encoded_examples(
    of: str, part: str, identity: str, encoding: EncoderOutputs, raw: Examples, on_progress: Callable[[int], None]
) -> Examples:
    """Return the outputs of some examples, from their cache, or computed and cached.

    Args:
        of: the name of their data set.
        part: of it: a split, or other examples.
        identity: of the examples: equal ones mean equal examples.
        encoding: what is computed.
        raw: the examples.
        on_progress: called with how many are encoded, if any have to be.

    Raises:
        UserError: the cache cannot be written.
    """
    content = hashlib.sha256(f"{encoding.key}|{identity}".encode()).hexdigest()
    path = data_root() / "encoded" / f"{of}-{encoding.name}-{content[:16]}-{part}.npz"
    parts = path.with_suffix(".parts")  # of an encoding that was interrupted

    def build() -> ExampleStream:
        blocks = _blocks(raw.values, encoding, parts, on_progress)
        return ExampleStream(blocks, encoding.shape, encoding.dtype, raw.offsets, raw.class_names)

    found = load_or_build(path, f"encoded-1|{content}", build, "disk" if raw.on_disk else "memory")
    shutil.rmtree(parts, ignore_errors=True)
    return found


def _content(name: str, raw: Examples) -> str:
    """Return what identifies some examples besides the hash of their data set, which covers those of the splits."""
    return name if name in SPLITS else f"{name}|{hashlib.sha256(np.ascontiguousarray(raw.values).data).hexdigest()}"


def _blocks(raw: Values, encoding: EncoderOutputs, parts: Path, on_progress: Callable[[int], None]) -> Iterator[Values]:
    several = len(raw) > BLOCK
    if several:
        try:
            parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{parts} cannot be created ({error.strerror})", "set METARUN_DATA to a writable folder."
            ) from error
    is_text = raw.dtype.names is not None and "mask" in raw.dtype.names
    length = _SORTED if is_text else BLOCK
    for start in range(0, len(raw), length):
        window = raw[start : start + length]
        # Texts of one length need little padding: BANKING77 takes 1.45 times as many tokens in unsorted blocks.
        order = np.argsort(window["mask"].sum(1), kind="stable") if is_text else np.arange(len(window))
        found = np.empty((len(window), *encoding.shape), encoding.dtype)
        for first in range(0, len(window), BLOCK):
            rows = order[first : first + BLOCK]
            path = parts / f"{'sorted-' if is_text else ''}{start + first:09}.npy"
            found[rows] = _block(window[rows], encoding, path if several else None)
            on_progress(start + first + len(rows))
        yield found


def _block(raw: Values, encoding: EncoderOutputs, path: Path | None) -> Values:
    """Return the outputs of some examples, from the file `path` or computed and stored there."""
    found = None if path is None else _stored(path, len(raw), encoding)
    if found is None:
        found = np.ascontiguousarray(encoding.encode(np.ascontiguousarray(raw)), encoding.dtype)
        assert found.shape == (len(raw), *encoding.shape)
        if path is not None:
            content = io.BytesIO()
            np.save(content, found)
            write_bytes(path, content.getvalue())
    return found


def _stored(path: Path, count: int, encoding: EncoderOutputs) -> Values | None:
    """Return the outputs of a block that an earlier process computed; None: there are none, or they are damaged."""
    try:
        found: Values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == encoding.dtype and found.shape == (count, *encoding.shape) else None
