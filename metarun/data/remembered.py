"""Hashes of files that are too large to be read at every start, kept beside them for as long as they do not change."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from metarun.documents import parse_json


def remembered(files: Sequence[Path], about: str, compute: Callable[[], str]) -> str:
    """Return what `compute` says of some files, asked again only when one of them has changed (size or time).

    Args:
        files: whose content is hashed; the answer is kept beside the first one.
        about: what is asked of them.
        compute: reads the files.
    """
    state = _state_of(files)
    kept = _read(_beside(files)).get(_name(about))
    if isinstance(kept, list) and len(kept) == 2 and kept[0] == state and isinstance(kept[1], str):
        return kept[1]
    answer = compute()
    remember(files, about, answer, state)
    return answer


def remember(files: Sequence[Path], about: str, answer: str, state: list[list[int]] | None = None) -> None:
    """Keep an answer for `remembered`; where the folder cannot be written to, the next one computes it again."""
    path = _beside(files)
    answers = {**_read(path), _name(about): [_state_of(files) if state is None else state, answer]}
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        unfinished.write_text(json.dumps(answers))
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)


def _beside(files: Sequence[Path]) -> Path:
    return files[0].with_suffix(".hashes.json")


def _name(about: str) -> str:
    return hashlib.sha256(about.encode()).hexdigest()[:16]


def _state_of(files: Sequence[Path]) -> list[list[int]]:
    return [[state.st_size, state.st_mtime_ns] for state in (file.stat() for file in files)]


def _read(path: Path) -> dict[str, object]:
    try:
        answers = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}
