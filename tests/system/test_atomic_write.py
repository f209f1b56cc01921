"""A file is the old one or the new one, whole, whatever happens while it is written."""

import os
import resource
import signal
from contextlib import contextmanager

import pytest

from metarun.errors import UserError
from metarun.system.atomic_write import replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def largest_file(size):
    """Within the block no file can be made larger, as on a disk that is full."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_nothing_is_seen_of_a_file_before_it_is_whole(tmp_path):
    path = tmp_path / "row.json"
    path.write_text("old")
    with replacing(path) as file:
        file.write(b"ne")
        file.flush()
        assert path.read_text() == "old"
        file.write(b"w")
    assert (path.read_text(), names(tmp_path)) == ("new", ["row.json"])


def test_what_stood_there_before_is_kept_where_asked(tmp_path):
    path, before = tmp_path / "last.pt", tmp_path / "previous.pt"
    for content in (b"1", b"2", b"3"):
        with replacing(path, before) as file:
            file.write(content)
    assert (path.read_bytes(), before.read_bytes(), names(tmp_path)) == (b"3", b"2", ["last.pt", "previous.pt"])


def test_a_full_disk_is_told_and_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "row.json"
    path.write_text("old")
    with (
        pytest.raises(UserError, match=r"row.json cannot be written \(File too large\); mend that"),
        largest_file(1000),
        replacing(path) as file,
    ):
        file.write(bytes(5000))
    assert (path.read_text(), names(tmp_path)) == ("old", ["row.json"]), "what was written takes no more room"


def test_a_folder_that_is_gone_is_told(tmp_path):
    complaint = r"row.json cannot be written \(No such file or directory\)"
    with pytest.raises(UserError, match=complaint), replacing(tmp_path / "gone" / "row.json") as file:
        file.write(b"new")


def test_a_mistake_while_writing_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "row.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError, match="by zero"), replacing(path) as file:
        file.write(bytes([1 // (len(os.sep) - 1)]))
    assert (path.read_text(), names(tmp_path)) == ("old", ["row.json"])
