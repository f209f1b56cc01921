"""Fixed episodes: tasks whose support and query examples are given."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.data.own.found import Examples
from metarun.errors import UserError, counted

SETS = ("support", "query")
Rows = list[tuple[int, str]]  # of examples, each with its class


@dataclass(frozen=True)
class Episode:
    """One task.

    Args:
        name: of the episode.
        support: (examples) rows of `Episodes.values`, sorted by class.
        support_y: (examples) labels from 0 on, or (examples, outputs) float targets.
        query: like `support`.
        query_y: like `support_y`.
    """

    name: str
    support: NDArray[np.int64]
    support_y: NDArray[Any]
    query: NDArray[np.int64]
    query_y: NDArray[Any]

    @property
    def way(self) -> int:
        """How many classes it has; 1 in regression."""
        return 1 if self.support_y.dtype.kind == "f" else int(self.support_y.max()) + 1

    @property
    def shots(self) -> NDArray[np.int64]:
        """(way) how many support examples each class has."""
        return np.array([len(self.support)]) if self.support_y.dtype.kind == "f" else np.bincount(self.support_y)


@dataclass(frozen=True)
class Episodes:
    """Tasks as they were listed.

    Args:
        name: of the file or folder.
        values: (examples, *shape) all examples, each once.
        episodes: the tasks.
    """

    name: str
    values: NDArray[Any]
    episodes: Sequence[Episode]

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def hash(self) -> str:
        """SHA-256 over the examples and which are in each task; paths and names of classes do not count."""
        digest = hashlib.sha256(f"{self.values.dtype}|{self.values.shape}|".encode())
        digest.update(np.ascontiguousarray(self.values).data)
        for episode in self.episodes:
            for array in (episode.support, episode.support_y, episode.query, episode.query_y):
                digest.update(f"|{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def check(self) -> str:
        """Return what they are, one line."""
        ways = sorted({episode.way for episode in self.episodes})
        shots = sorted({int(shot) for episode in self.episodes for shot in episode.shots})
        way, shot = ("..".join(map(str, dict.fromkeys((each[0], each[-1])))) for each in (ways, shots))
        return f"{counted(len(self), 'episode')} of {way}w{shot}s, {counted(len(self.values), 'different example')}"


def make_episodes(path: Path, examples: Examples, rows: Mapping[str, Mapping[str, Rows]]) -> Episodes:
    """Return episodes of examples.

    Args:
        path: of the list, for messages and the name.
        examples: of all episodes.
        rows: of each episode by its name, of both of `SETS`.

    Raises:
        UserError: an example cannot be decoded, or an episode is no task; the message names it.
    """
    for each in examples.found:
        if each.error:
            raise UserError(f"{path}: {each.error}", "fix it, or leave it out of the episodes.")
    make: Callable[..., Episode] = _classification if examples.targets is None else _regression
    episodes = [make(path, name, sets["support"], sets["query"], examples) for name, sets in rows.items()]
    return Episodes(path.stem, examples.values, episodes)


def _classification(path: Path, name: str, support: Rows, query: Rows, examples: Examples) -> Episode:
    where = f"episode '{name}' of {path}"
    classes = sorted({label for _, label in support})
    if len(classes) < 2:
        raise UserError(f"{where} has {counted(len(classes), 'class')} in its support set", "a task needs at least 2.")
    if not query:
        raise UserError(f"{where} has no query", "add some.")
    if strange := [(row, label) for row, label in query if label not in classes]:
        row, label = strange[0]
        raise UserError(
            f"{where} has a query of class '{label}' ({examples.found[row].name}), which is not in its support set",
            "add it there, or leave the query out.",
        )
    if shared := {row for row, _ in support} & {row for row, _ in query}:
        raise UserError(
            f"{where} has {examples.found[min(shared)].name} in its support set and among its queries",
            "leave it out of one of them.",
        )
    index = {label: i for i, label in enumerate(classes)}
    arrays = []
    for pairs in (support, query):
        y = np.array([index[label] for _, label in pairs], np.int64)
        order = np.argsort(y, kind="stable")  # sorted by class, as methods expect
        arrays += [np.array([row for row, _ in pairs], np.int64)[order], y[order]]
    return Episode(name, *arrays)


def _regression(path: Path, name: str, support: Rows, query: Rows, examples: Examples) -> Episode:
    assert examples.targets is not None
    arrays: list[NDArray[Any]] = []
    for which, pairs in zip(SETS, (support, query), strict=True):
        rows = np.array([row for row, _ in pairs], np.int64)
        if not len(rows):
            raise UserError(f"episode '{name}' of {path} has no {which} row", "add some.")
        if (unknown := np.isnan(examples.targets[rows]).any(1)).any():
            place = examples.found[int(rows[unknown.argmax()])].name
            raise UserError(f"{place} has no target", "fill it.")
        arrays += [rows, examples.targets[rows]]
    return Episode(name, *arrays)
