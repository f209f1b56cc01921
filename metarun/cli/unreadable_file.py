"""What Hydra failed on while it read YAML files, where its error does not say so."""

from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException
from yaml.reader import ReaderError

from metarun.errors import UserError
from metarun.system.parsing import parse_yaml
from metarun.system.paths import is_file

OF_FILES = (UnicodeError, ReaderError, RecursionError, OSError)


def unreadable_file(folders: Sequence[Path], error: Exception) -> UserError | None:
    """Return what is wrong with a file, or with the name of one; None where `error` did not come of files.

    Args:
        folders: where the user's own files lie.
        error: that came up while a config was put together.
    """
    if isinstance(error, HydraException | BrokenPipeError) or not isinstance(error, OF_FILES):
        return None
    for file in sorted(file for folder in folders for file in folder.rglob("*.yaml") if is_file(file)):
        try:
            content = parse_yaml(file.read_bytes())
        except (OSError, ValueError) as reason:
            return UserError(f"{file} cannot be read as YAML ({reason}).")
        if not isinstance(content, dict | None):
            return UserError(f"{file} is no mapping of keys to values, as a config is.")
    if isinstance(error, RecursionError):
        return UserError("the config leads back to itself in its `defaults`, or nests too deep.")
    if isinstance(error, OSError):
        return UserError(f"a file that the config names cannot be read ({error.strerror or error}).")
    return UserError(f"the config holds a text that is not in UTF-8 ({error}).")
