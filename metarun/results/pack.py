"""A run in one file: an uncompressed zip with checksums, always the same bytes, and read as untrusted input."""

import io
import json
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from metarun.errors import UserError, printable
from metarun.results import checksums
from metarun.results.records import MAX_BYTES
from metarun.system.atomic_write import write_bytes
from metarun.system.parsing import parse_json
from metarun.system.paths import exists, is_file

FORMAT = 1
MANIFEST = "metarun-run.json"
WEIGHTS = "weights.safetensors"
CARD = "README.md"
REQUIRED = ("config.yaml", "result.json", WEIGHTS)
OPTIONAL = (
    *(CARD, "environment.json", "curve.csv", "tasks.parquet", "classes.json", "examples.npz", "inputs.npz"),
    *("paths.npz", "poses.npz", "looks.jsonl"),
)
NAMES = frozenset((MANIFEST, checksums.NAME, *REQUIRED, *OPTIONAL))
LARGE = frozenset((WEIGHTS, *(name for name in OPTIONAL if name.endswith((".parquet", ".npz")))))
# Bytes of these; others have at most `MAX_BYTES`. Beyond it a zip needs extensions, which are not read.
LARGEST = (1 << 31) - 1

_DATE = (1980, 1, 1, 0, 0, 0)  # of every file, so that equal runs are equal packs
_MODE = (stat.S_IFREG | 0o644) << 16
_MAX_DIRECTORY = 1 << 12  # bytes of a zip's directory: that of a pack takes 700
_END = struct.Struct("<4s4H2LH")  # the end of a zip without a comment
_ZIP64_LOCATOR = 20  # bytes before that end


def write(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a pack atomically.

    Args:
        path: of the pack.
        contents: its files by name, those of `REQUIRED` and some of `OPTIONAL`.

    Raises:
        UserError: it cannot be written, or is too large.
    """
    manifest = json.dumps({"format": FORMAT}).encode() + b"\n"
    listed = {MANIFEST: manifest, **contents}
    if sum(map(len, listed.values())) > LARGEST - MAX_BYTES:
        raise UserError(f"{path} would have more than 2 GB", "copy the run's directory instead.")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, content in {**listed, checksums.NAME: checksums.listing(listed)}.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system, entry.external_attr = 3, _MODE  # Unix, whatever the system is
            archive.writestr(entry, content)
    write_bytes(path, packed.getvalue())


def read(path: Path) -> dict[str, bytes]:
    """Return the files of a pack by name, all verified by their checksums.

    Nothing is written, and no file can unpack to more than its share of the pack, because none is compressed.

    Raises:
        UserError: it is missing, damaged, of another version, or contains what `write` does not write.
    """
    if not is_file(path):
        what = "is not a file" if exists(path) else "does not exist"
        raise UserError(f"{path} {what}", "give a file that `metarun publish` wrote.")
    try:
        return _read(path)
    except UserError:
        raise
    except Exception as error:  # zipfile raises many kinds for damaged files
        reason = printable(" ".join(str(error).split()))
        raise UserError(f"{path} cannot be imported ({reason})", "ask for a new copy.") from None


def _read(path: Path) -> dict[str, bytes]:
    _check_end(path)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check_entries(entries, path.stat().st_size)
        contents = {entry.filename: archive.read(entry) for entry in entries}
    manifest = parse_json(contents[MANIFEST])
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if version != FORMAT:
        raise UserError(
            f"{path} was written by another version of metarun (format {printable(str(version))[:20]}, this one reads "
            f"{FORMAT})",
            "install that version, or publish the run again with this one.",
        )
    _check_sums(contents)
    return {name: content for name, content in contents.items() if name != MANIFEST}


def _check_end(path: Path) -> None:
    """Check the last bytes of a zip before its directory is read, which could have millions of entries."""
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError("it has more than 2 GB")
    with path.open("rb") as file:
        file.seek(max(0, size - _END.size - _ZIP64_LOCATOR))
        tail = file.read()
    if len(tail) < _END.size + _ZIP64_LOCATOR:
        raise ValueError("it is not a pack of a run")
    signature, *_, directory, _start, comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\x05\x06" or comment or tail.startswith(b"PK\x06\x07"):
        raise ValueError("it is not a pack of a run, or it is truncated")
    if directory > _MAX_DIRECTORY:
        raise ValueError("it contains too many files")


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Check that the entries are the files of a run, once each, and no larger than the pack."""
    for entry in entries:
        name, kind = printable(entry.filename)[:80], stat.S_IFMT(entry.external_attr >> 16)
        if entry.filename not in NAMES:
            raise ValueError(f"it contains '{name}', which is not a file of a run")
        if kind not in (0, stat.S_IFREG):
            raise ValueError(f"its entry '{name}' is a link or another special file")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(f"its entry '{name}' is compressed, which is not allowed")
        if entry.file_size > (LARGEST if entry.filename in LARGE else MAX_BYTES):
            raise ValueError(f"its entry '{name}' is too large ({entry.file_size:,} bytes)")
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise ValueError("it contains a file twice")
    if missing := [name for name in (MANIFEST, checksums.NAME, *REQUIRED) if name not in names]:
        raise ValueError(f"it has no {missing[0]}")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its files overlap")


def _check_sums(contents: dict[str, bytes]) -> None:
    """Take the checksums out of the contents of a pack and check all others."""
    stated = checksums.parse(contents.pop(checksums.NAME))
    if stated is None or stated.keys() != contents.keys():
        raise ValueError(f"its {checksums.NAME} does not list its files")
    for name, content in contents.items():
        if checksums.of(content) != stated[name]:
            raise ValueError(f"its {name} does not match the checksum")
