"""Checksums of a finished run's files: `SHA256SUMS`, which `sha256sum -c` also reads.

They detect damage such as a flipped bit in a number, which leaves a valid file.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from metarun.errors import UserError, reason_of
from metarun.system.atomic_write import atomic_write
from metarun.system.paths import read_file

NAME = "SHA256SUMS"
MAX_BYTES = 1 << 16  # far more than the checksums of a run's files take
LINE = re.compile(r"^([0-9a-f]{64}) [ *](.+)$", re.MULTILINE)
ALWAYS_LISTED = "result.json"
REMEDY = f"run it again with force=true, or delete {NAME} if you changed the file yourself."


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the checksums of files in a folder, given their contents by name."""
    with atomic_write(folder / NAME) as file:
        file.write(listing(contents))


def of(content: bytes) -> str:
    """Return the checksum of a file's content."""
    return hashlib.sha256(content).hexdigest()


def listing(contents: Mapping[str, bytes]) -> bytes:
    """Return the content of `SHA256SUMS` for files by name."""
    return "".join(f"{of(content)}  {name}\n" for name, content in contents.items()).encode()


def parse(text: bytes) -> dict[str, str] | None:
    """Return the checksums in a `SHA256SUMS` by file name; None if it is damaged."""
    decoded = text.decode("ascii", "replace")
    lines = LINE.findall(decoded)  # all at once: ten times as fast as line by line, for tables of thousands of runs
    return {name: checksum for checksum, name in lines} if len(lines) == len(decoded.splitlines()) else None


def read(path: Path | str, max_bytes: int) -> bytes | None:
    """Return the content of a file after checking it; None if there is no such file.

    Raises:
        UserError: the file has changed since its run finished, or the checksums are damaged.
        ValueError: the file is larger than `max_bytes`.
        OSError: the file cannot be read.
    """
    content = read_file(path, max_bytes)
    if content is not None:
        check(path, content)
    return content


def check(path: Path | str, content: bytes | None = None) -> None:
    """Check that a file has not changed since its run finished; `content` is its content, if it was already read.

    Runs of earlier versions have no checksums, and users can delete them.

    Raises:
        UserError: the file has changed, or the checksums are damaged.
        OSError: the file cannot be read.
    """
    folder, name = os.path.split(path)  # a Path for each of thousands of runs takes longer than to read its file
    sums = os.path.join(folder, NAME)  # noqa: PTH118
    try:
        text = read_file(sums, MAX_BYTES)
    except ValueError:
        text = b"too large"
    if text is None:
        return
    stated = parse(text)
    if stated is None or ALWAYS_LISTED not in stated:
        raise UserError(f"{sums} is damaged, so {name} cannot be checked", REMEDY)
    if name not in stated:
        return
    if of(Path(path).read_bytes() if content is None else content) != stated[name]:
        raise UserError(f"{path} has changed since the run finished", REMEDY)


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Check a file as `check` does, then read it in the block; any error becomes a sentence.

    Raises:
        UserError: the file has changed, or cannot be read.
    """
    try:
        check(path)
        yield
    except UserError:
        raise
    except Exception as error:  # numpy, zipfile and pyarrow raise many kinds for damaged files
        raise UserError(f"{path} cannot be read ({reason_of(error)})", remedy) from error
