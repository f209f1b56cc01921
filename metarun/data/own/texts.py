"""Texts: in a table, in a folder or zip of text files, or one in a file of its own."""

from collections.abc import Sequence
from pathlib import Path

from metarun.data.encoders import TextEncoder
from metarun.data.files.archive import ReadFile, open_files
from metarun.data.own.found import Examples, Found
from metarun.data.pictures.picture_files import count_by_suffix, is_ignored
from metarun.data.texts.text_file import SUFFIXES, Columns, read_texts
from metarun.data.texts.utf8 import decoded
from metarun.errors import UserError
from metarun.system.paths import is_folder

_LARGEST = 1 << 28  # bytes of a text file
_SUFFIX = ".txt"


def read_own_texts(encoder: TextEncoder, path: Path) -> Examples:
    """See `read_examples`."""
    if is_folder(path) or path.suffix.lower() == ".zip":
        return _read_folder(encoder, path)
    if path.suffix.lower() == _SUFFIX:
        with open_files(path.parent, _LARGEST) as (_, read):
            return encode_texts(encoder, [(path.name, None)], read)
    columns = Columns(encoder.text, encoder.label, label_needed=False)
    found = [
        Found(f"{path.name}:{text.line}", text.label or None, "" if text.text else _empty(text.place), text.text)
        for text in read_texts(path, str(path), columns)[0]
    ]
    return encoded(encoder, found)


def encode_texts(encoder: TextEncoder, labelled: Sequence[tuple[str, str | None]], read: ReadFile) -> Examples:
    """Read text files, each with its class; None: it is not known."""
    return encoded(encoder, [_of_file(name, label, read(name)) for name, label in labelled])


def encoded(encoder: TextEncoder, found: Sequence[Found], skipped: str = "") -> Examples:
    """Return the examples of texts that were found."""
    texts = [each.text for each in found if not each.error]
    return Examples(encoder.noun, found, encoder.encode(texts), skipped=skipped)


def _read_folder(encoder: TextEncoder, path: Path) -> Examples:
    with open_files(path, _LARGEST) as (names, read):
        shown = [name for name in sorted(names) if not is_ignored(name, (_SUFFIX,))]
        files = [name for name in shown if name.lower().endswith(_SUFFIX)]
        if not files:
            raise UserError(
                f"{path} contains no texts", f"add some ({_SUFFIX}), or name a table ({', '.join(SUFFIXES)})."
            )
        found = [_of_file(name, name.rpartition("/")[0] or None, read(name)) for name in files]
    others = [name for name in shown if not name.lower().endswith(_SUFFIX)]
    skipped = f"skipped, because they are not texts: {count_by_suffix(others)}" if others else ""
    return encoded(encoder, found, skipped)


def _of_file(name: str, label: str | None, content: bytes) -> Found:
    try:
        text = decoded(content, name).strip()
    except UserError as error:
        return Found(name, label, error.problem)
    return Found(name, label, "" if text else _empty(name), text)


def _empty(place: str) -> str:
    return f"{place} has no characters"
