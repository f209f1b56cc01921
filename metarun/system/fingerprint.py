"""The content of a user's file or folder as one hash: read once, then recognised for as long as it does not change."""

import hashlib
import os
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from metarun.errors import UserError
from metarun.system.hash_cache import is_settled, keep, kept
from metarun.system.paths import State, data_root, files_below, is_folder, path_of, state_of

WORTH_A_WORD = 1 << 30  # bytes, which take a second or more to read
# What systems leave in folders that somebody looked into.
_DROPPINGS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"})

States = Mapping[str, State]


def content_hash(path: Path) -> str:
    """Return a SHA-256 of what a file holds, or of the names and contents of all files below a folder.

    What was read is remembered under the data root, and trusted as long as `state_of` says that nothing has changed.

    Raises:
        UserError: something cannot be read, or a link in the folder leads back into it.
    """
    path, now = path_of(str(path)), time.time_ns()
    states = _states(path)
    whole = hashlib.sha256(repr(states).encode("utf-8", "surrogateescape")).hexdigest()
    memory = data_root() / "contents" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    known = kept(memory)
    if known.get("states") == whole and isinstance(known.get("content"), str):
        return str(known["content"])
    hashes = _hashes(path, states, kept(_of_files(memory)))
    content = _together(hashes) if is_folder(path) else hashes[""]
    settled = {name for name, state in states.items() if is_settled(state, now)}
    keep(_of_files(memory), {name: [*states[name], hashes[name]] for name in settled})
    if len(settled) == len(states):
        keep(memory, {"states": whole, "content": content})
    return content


def _of_files(memory: Path) -> Path:
    return memory.with_suffix(".files.json")


def _states(path: Path) -> States:
    """Return the state of each file below a folder by its path from there, in order; of a file under the name ""."""
    if not is_folder(path):
        return {"": state_of(path)}
    names = (name for name in files_below(path) if _DROPPINGS.isdisjoint(name.split("/")))
    return {name: state_of(f"{path}/{name}") for name in sorted(names)}


def _hashes(path: Path, states: States, known: Mapping[str, object]) -> dict[str, str]:
    """Return the hash of each file; only those are read that are not known in this state."""
    found: dict[str, str] = {}
    for name, state in states.items():
        before = known.get(name)
        if isinstance(before, list) and before[:-1] == [*state] and isinstance(before[-1], str):
            found[name] = before[-1]
    unread = states.keys() - found.keys()
    size = sum(states[name][0] for name in unread)
    if size > WORTH_A_WORD:
        told = f"metarun: reading {len(unread):,} files of {path}, {size / 2**30:.1f} GB, once, to recognise them later"
        print(told, file=sys.stderr, flush=True)
    return {**found, **{name: _hash_of_file(path / name if name else path) for name in unread}}


def _hash_of_file(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device might never end
            return "no file"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "nothing"  # a link leads there; whoever wants to read it will say so
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def _together(hashes: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(hashes):
        digest.update(f"{name}\0{hashes[name]}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
