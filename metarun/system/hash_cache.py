"""Cache slow computations about files for as long as the files do not change."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from metarun.system.parsing import parse_json
from metarun.system.paths import State, state_of

# Some file systems have timestamps of two seconds, so a file changed more recently than this could change again
# unnoticed. Nothing is cached about it.
STABLE_AFTER_NS = 2_000_000_000


def cached_answer(files: Sequence[Path], about: str, compute: Callable[[], str]) -> str:
    """Return the result of `compute`, called again only when one of the files has changed (see `state_of`).

    Args:
        files: the files that `compute` reads; the answer is stored beside the first one.
        about: what is computed; the cache key.
        compute: reads the files.
    """
    started, states = time.time_ns(), [state_of(file) for file in files]
    answer = read_cache(_beside(files)).get(_name(about))
    if isinstance(answer, list) and answer[:-1] == [[*state] for state in states] and isinstance(answer[-1], str):
        return answer[-1]
    found = compute()
    if all(is_stable(state, started) for state in states):
        _store(files, about, states, found)
    return found


def store_answer(files: Sequence[Path], about: str, answer: str) -> None:
    """Store an answer for `cached_answer` about files that this process has just written."""
    _store(files, about, [state_of(file) for file in files], answer)


def _store(files: Sequence[Path], about: str, states: Sequence[State], answer: str) -> None:
    write_cache(_beside(files), {**read_cache(_beside(files)), _name(about): [*states, answer]})


def is_stable(state: State, now: int) -> bool:
    """Whether the file has been unchanged for so long that any later change will be noticed."""
    _, _, changed, _ = state
    return changed < now - STABLE_AFTER_NS


def read_cache(path: Path) -> Mapping[str, object]:
    """Return what `write_cache` wrote; empty if the file is missing or invalid."""
    try:
        answers = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}


def write_cache(path: Path, answers: Mapping[str, object]) -> None:
    """Write answers for `read_cache`; do nothing if the folder is not writable."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(answers))
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()


def _beside(files: Sequence[Path]) -> Path:
    return files[0].with_suffix(".hashes.json")


def _name(about: str) -> str:
    return hashlib.sha256(about.encode()).hexdigest()[:16]
