"""What the files of a run held when it was finished: `SHA256SUMS`, which `sha256sum -c` understands too.

A flipped bit in a figure leaves a figure: without this nobody could tell.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from metarun.errors import UserError
from metarun.system.atomic_write import replacing
from metarun.system.paths import read_file

NAME = "SHA256SUMS"
LARGEST = 1 << 16  # bytes, many more than the sums of a run's files have
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
OF_A_ROW = "result.json"  # is always among them
REMEDY = f"make the run again with force=true, or delete {NAME} beside it if you changed it yourself."


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the sums of some files of a folder, by name.

    Raises:
        UserError: they cannot be written.
    """
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()]
    with replacing(folder / NAME) as file:
        file.write("".join(lines).encode())


def check(path: Path, content: bytes | None = None) -> None:
    """Make sure that a file is what it was when its run was finished, if that is known of it.

    Args:
        path: of the file. Runs of an older metarun are without sums; so are those from which somebody took them away.
        content: of the file, where it was read already.

    Raises:
        UserError: it is not, or it cannot be told because the sums are damaged themselves.
        OSError: the file cannot be read.
    """
    sums = path.parent / NAME
    try:
        text = read_file(sums, LARGEST)
    except ValueError:
        text = b"much more than sums"
    if text is None:
        return
    lines = [LINE.fullmatch(line) for line in text.decode("ascii", "replace").splitlines()]
    stated = {line[2]: line[1] for line in lines if line}
    if not all(lines) or OF_A_ROW not in stated:
        raise UserError(f"{sums} is damaged, so that nobody knows of {path.name}", f"{REMEDY}")
    if path.name not in stated:
        return
    found = hashlib.sha256(path.read_bytes() if content is None else content).hexdigest()
    if found != stated[path.name]:
        raise UserError(f"{path} is not what it was when the run was finished", f"{REMEDY}")
