"""A file is the old or the new one, complete, whatever happens while it is written."""

import os
import resource
import signal
from contextlib import contextmanager

import pytest

from metarun.errors import UserError
from metarun.system.atomic_write import atomic_write, write_bytes


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def largest_file(size):
    """Let no file grow within the block, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_is_replaced_only_when_it_is_complete(tmp_path):
    path = tmp_path / "row.json"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write(b"ne")
        file.flush()
        assert path.read_text() == "old"
        file.write(b"w")
    assert (path.read_text(), names(tmp_path)) == ("new", ["row.json"])


def test_the_previous_content_is_kept_as_a_backup(tmp_path):
    path, backup = tmp_path / "last.pt", tmp_path / "previous.pt"
    for content in (b"1", b"2", b"3"):
        with atomic_write(path, backup) as file:
            file.write(content)
    assert (path.read_bytes(), backup.read_bytes(), names(tmp_path)) == (b"3", b"2", ["last.pt", "previous.pt"])


def test_a_full_disk_is_reported_and_leaves_the_old_file_unchanged(tmp_path):
    path = tmp_path / "row.json"
    path.write_text("old")
    with (
        pytest.raises(UserError, match=r"row.json cannot be written \(File too large\); fix this"),
        largest_file(1000),
        atomic_write(path) as file,
    ):
        file.write(bytes(5000))
    assert (path.read_text(), names(tmp_path)) == ("old", ["row.json"]), "the temporary file is removed"


def test_a_missing_folder_is_reported(tmp_path):
    complaint = r"row.json cannot be written \(No such file or directory\)"
    with pytest.raises(UserError, match=complaint), atomic_write(tmp_path / "gone" / "row.json") as file:
        file.write(b"new")


def test_a_name_that_is_not_text_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"\\ud800\.json is not a valid file name; use another name"):
        write_bytes(tmp_path / "\ud800.json", b"")


def test_an_exception_while_writing_leaves_the_old_file_unchanged(tmp_path):
    path = tmp_path / "row.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError, match="by zero"), atomic_write(path) as file:
        file.write(bytes([1 // (len(os.sep) - 1)]))
    assert (path.read_text(), names(tmp_path)) == ("old", ["row.json"])
