"""Read the files of a tar, compressed or not, as those of a folder or a zip; it is never extracted."""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from metarun.data.files.archive import ReadFile, check_stays_inside, open_files
from metarun.errors import UserError
from metarun.system.paths import data_root, is_file

_SUFFIXES = (".tar", ".tgz", ".tar.gz")
_CHUNK = 1 << 20  # bytes
_LARGEST = 1 << 34  # bytes of an unpacked archive


@contextmanager
def open_tree(root: Path, max_bytes: int) -> Iterator[tuple[list[str], ReadFile]]:
    """Yield the names of all files of a folder, zip or tar, and a function that reads one; see `open_files`.

    A compressed tar is unpacked into a temporary file under the data root first: its files are not read in the order in
    which they are packed, and each step back would unpack all of it again.

    Raises:
        UserError: as `open_files`, or the tar is damaged.
    """
    if not (is_file(root) and root.name.lower().endswith(_SUFFIXES)):
        with open_files(root, max_bytes) as found:
            yield found
        return
    with _unpacked(root) as file, _open(root, file) as archive:
        members = _members(root, archive)
        yield list(members), lambda name, first=None, /: _read(root, archive, members[name], max_bytes, first)


@contextmanager
def _unpacked(root: Path) -> Iterator[IO[bytes]]:
    import gzip

    with root.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":  # not a gzip
            file.seek(0)
            yield file
            return
    data_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=data_root()) as plain:
        try:
            with gzip.open(root) as packed:
                while chunk := packed.read(_CHUNK):
                    if plain.tell() > _LARGEST:
                        raise ValueError(f"it holds more than {_LARGEST:,} bytes")
                    plain.write(chunk)
        except Exception as error:  # gzip and zlib raise four types on damaged bytes
            raise _damaged(root, error) from error
        plain.seek(0)
        yield plain


def _open(root: Path, file: IO[bytes]) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r:")
    except Exception as error:
        raise _damaged(root, error) from error


def _members(root: Path, archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Return the files by name; links and devices are skipped."""
    try:
        found = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
    except Exception as error:  # tarfile raises a dozen types on untrusted bytes
        raise _damaged(root, error) from error
    for name in found:
        check_stays_inside(root, name)
    return found


def _read(root: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, max_bytes: int, first: int | None) -> bytes:
    if first is None and member.size > max_bytes:
        raise _damaged(root, f"{member.name} claims {member.size:,} bytes")
    try:
        content = archive.extractfile(member)
        assert content is not None, "it is a file"
        return content.read() if first is None else content.read(first)
    except Exception as error:
        raise _damaged(root, error) from error


def _damaged(root: Path, reason: object) -> UserError:
    return UserError(f"{root} is not a valid tar archive ({reason})", "download it again or delete it.")
