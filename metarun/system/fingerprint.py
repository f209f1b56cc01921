"""Hash the content of a user's file or folder; unchanged files are read only once."""

import hashlib
import os
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from metarun.errors import UserError
from metarun.system.hash_cache import is_stable, read_cache, write_cache
from metarun.system.paths import State, data_root, files_below, is_folder, resolve_path, state_of

LARGE = 1 << 30  # bytes; reading them takes a second or more
# Files that operating systems leave in folders.
_SYSTEM_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"})

States = Mapping[str, State]


def content_hash(path: Path) -> str:
    """Return a SHA-256 of a file's content, or of the names and contents of all files below a folder.

    Hashes are cached under the data root and reused while `state_of` reports no change.

    Raises:
        UserError: a file cannot be read, or a link in the folder leads back into it.
    """
    path, now = resolve_path(str(path)), time.time_ns()
    states = _states(path)
    whole = hashlib.sha256(repr(states).encode("utf-8", "surrogateescape")).hexdigest()
    cache = data_root() / "contents" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    known = read_cache(cache)
    if known.get("states") == whole and isinstance(known.get("content"), str):
        return str(known["content"])
    hashes = _hashes(path, states, read_cache(_per_file(cache)))
    content = _combined(hashes) if is_folder(path) else hashes[""]
    stable = {name for name, state in states.items() if is_stable(state, now)}
    write_cache(_per_file(cache), {name: [*states[name], hashes[name]] for name in stable})
    if len(stable) == len(states):
        write_cache(cache, {"states": whole, "content": content})
    return content


def _per_file(cache: Path) -> Path:
    return cache.with_suffix(".files.json")


def _states(path: Path) -> States:
    """Return the state of each file below a folder, by relative path and sorted; a single file is named ""."""
    if not is_folder(path):
        return {"": state_of(path)}
    names = (name for name in files_below(path) if _SYSTEM_FILES.isdisjoint(name.split("/")))
    return {name: state_of(f"{path}/{name}") for name in sorted(names)}


def _hashes(path: Path, states: States, known: Mapping[str, object]) -> dict[str, str]:
    """Return the hash of each file; read only files whose state is not in the cache."""
    found: dict[str, str] = {}
    for name, state in states.items():
        before = known.get(name)
        if isinstance(before, list) and before[:-1] == [*state] and isinstance(before[-1], str):
            found[name] = before[-1]
    unread = states.keys() - found.keys()
    size = sum(states[name][0] for name in unread)
    if size > LARGE:
        message = f"metarun: hashing {len(unread):,} files of {path} ({size / 2**30:.1f} GB); this is done only once"
        print(message, file=sys.stderr, flush=True)
    return {**found, **{name: _hash_of_file(path / name if name else path) for name in unread}}


def _hash_of_file(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe or a device might never end
            return "no file"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "nothing"  # a dangling link; whoever reads it will report that
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def _combined(hashes: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(hashes):
        digest.update(f"{name}\0{hashes[name]}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
