"""What takes long to find out about files and is kept for as long as they do not change."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from metarun.system.parsing import parse_json
from metarun.system.paths import State, state_of

# Nanoseconds. A file that changed this lately may change again and look the same, since clocks of file systems tick up
# to every two seconds: what is found out about it is not kept.
SETTLED = 2_000_000_000


def remembered(files: Sequence[Path], about: str, compute: Callable[[], str]) -> str:
    """Return what `compute` says of some files, asked again only when one of them has changed (see `state_of`).

    Args:
        files: whose content is asked about; the answer is kept beside the first one.
        about: what is asked of them.
        compute: reads the files.
    """
    began, states = time.time_ns(), [state_of(file) for file in files]
    answer = kept(_beside(files)).get(_name(about))
    if isinstance(answer, list) and answer[:-1] == [[*state] for state in states] and isinstance(answer[-1], str):
        return answer[-1]
    found = compute()
    if all(is_settled(state, began) for state in states):
        _keep_about(files, about, states, found)
    return found


def remember(files: Sequence[Path], about: str, answer: str) -> None:
    """Keep an answer for `remembered` about files that this process has just written."""
    _keep_about(files, about, [state_of(file) for file in files], answer)


def _keep_about(files: Sequence[Path], about: str, states: Sequence[State], answer: str) -> None:
    keep(_beside(files), {**kept(_beside(files)), _name(about): [*states, answer]})


def is_settled(state: State, now: int) -> bool:
    """Whether a file with this state has not changed for so long that every change from now on can be seen."""
    _, _, changed, _ = state
    return changed < now - SETTLED


def kept(path: Path) -> Mapping[str, object]:
    """Return what `keep` kept; nothing where there is none, or something else stands there."""
    try:
        answers = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}


def keep(path: Path, answers: Mapping[str, object]) -> None:
    """Write answers down for `kept`; where the folder cannot be written to, the next one has to find them out again."""
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(answers))
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()


def _beside(files: Sequence[Path]) -> Path:
    return files[0].with_suffix(".hashes.json")


def _name(about: str) -> str:
    return hashlib.sha256(about.encode()).hexdigest()[:16]
