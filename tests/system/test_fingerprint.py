"""The content of a file or a folder: any change of it is seen, and nothing is read twice."""

import os
import shutil
import time
from pathlib import Path

import pytest

from metarun.system import fingerprint
from metarun.system.fingerprint import content_hash
from metarun.system.hash_cache import SETTLED
from tests.support.fake_images import split_folders, write_folder, write_zip

DAY = 86_400 * 10**9


@pytest.fixture
def pictures(root, tmp_path, monkeypatch) -> Path:
    """A folder that was recognised before; clocks of file systems tick fast enough here not to be waited for."""
    monkeypatch.setattr("metarun.system.hash_cache.SETTLED", 0)
    folder = write_folder(tmp_path / "pictures", split_folders())
    time.sleep(0.02)  # a tick of the kernel's clock
    content_hash(folder)
    return folder


def read_files(monkeypatch) -> list[str]:
    """Return a list to which the name of each file that is read from now on is added."""
    read, hash_of_file = [], fingerprint._hash_of_file
    monkeypatch.setattr(fingerprint, "_hash_of_file", lambda path: read.append(path.name) or hash_of_file(path))
    return read


def with_times_of(file: Path, change) -> None:
    """Change a file and set the time of its content back to what it was."""
    state = file.stat()
    change()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert file.stat().st_size == state.st_size


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    with file.open("r+b") as opened:  # in place: the same inode
        opened.write(content)


def test_what_stays_as_it_is_is_not_read_again(pictures, monkeypatch):
    before, read = content_hash(pictures), read_files(monkeypatch)
    assert content_hash(pictures) == content_hash(Path(f"{pictures}/../pictures")) == before
    assert read == []


def test_a_changed_file_is_read_and_no_other(pictures, monkeypatch):
    before, read = content_hash(pictures), read_files(monkeypatch)
    flip(pictures / "train/ant/0.png")
    assert content_hash(pictures) != before
    assert read == ["0.png"]


def pixels_changed_in_place(folder: Path) -> None:
    with_times_of(folder / "train/ant/0.png", lambda: flip(folder / "train/ant/0.png"))


def replaced_by_a_copy_with_its_times(folder: Path) -> None:
    file, other = folder / "train/ant/0.png", folder.parent / "other"
    shutil.copy2(file, other)
    with_times_of(other, lambda: flip(other))
    shutil.copy2(other, file)


def another_file_moved_there(folder: Path) -> None:
    file, other = folder / "train/ant/0.png", folder.parent / "other"
    shutil.copy2(file, other)
    with_times_of(other, lambda: flip(other))
    other.replace(file)


def names_exchanged(folder: Path) -> None:
    one, other = folder / "train/ant/0.png", folder / "train/ant/1.png"
    one.rename(folder / "x")
    other.rename(one)
    (folder / "x").rename(other)


def a_folder_exchanged(folder: Path) -> None:
    """Each file keeps its times, all three of them: only the inodes are others."""
    another = folder.parent / "another"
    shutil.copytree(folder / "train/ant", another)
    with_times_of(another / "0.png", lambda: flip(another / "0.png"))
    (folder / "train/ant").rename(folder.parent / "before")
    another.rename(folder / "train/ant")


def a_file_renamed(folder: Path) -> None:
    (folder / "train/ant/0.png").rename(folder / "train/ant/9.png")


def a_file_taken_away(folder: Path) -> None:
    (folder / "train/ant/0.png").unlink()


def a_link_set_to_another(folder: Path) -> None:
    file = folder / "train/ant/0.png"
    file.unlink()
    file.symlink_to(folder / "train/ant/1.png")


CHANGES = [
    *(pixels_changed_in_place, replaced_by_a_copy_with_its_times, another_file_moved_there, names_exchanged),
    *(a_folder_exchanged, a_file_renamed, a_file_taken_away, a_link_set_to_another),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_any_change_of_content_or_name_is_seen(pictures, change):
    before = content_hash(pictures)
    change(pictures)
    assert content_hash(pictures) != before


def test_an_archive_unpacked_with_fixed_dates_over_another_is_seen(pictures):
    for file in pictures.rglob("*.png"):
        os.utime(file, ns=(DAY, DAY))
    before = content_hash(pictures)
    shutil.rmtree(pictures)
    write_folder(pictures, {**split_folders(), "train/ant/0.png": split_folders()["train/ant/1.png"]})
    for file in pictures.rglob("*.png"):
        os.utime(file, ns=(DAY, DAY))
    assert content_hash(pictures) != before


def test_the_same_files_elsewhere_at_other_times_have_the_same_hash(pictures):
    elsewhere = pictures.parent / "elsewhere"
    shutil.copytree(pictures, elsewhere, copy_function=shutil.copyfile)
    assert content_hash(elsewhere) == content_hash(pictures)
    write_folder(elsewhere, {".DS_Store": b"", "__MACOSX/train/._ant": b"", "train/Thumbs.db": b""})
    assert content_hash(elsewhere) == content_hash(pictures), "what a system left when somebody looked"


def test_a_file_that_changed_within_a_tick_is_not_remembered(root, tmp_path, monkeypatch):
    assert SETTLED == 2 * 10**9
    file = write_zip(tmp_path / "x.zip", split_folders())
    before, read = content_hash(file), read_files(monkeypatch)
    assert content_hash(file) == before
    assert read == ["x.zip"], "it was written a moment ago, and may have changed since without a trace"


def test_a_damaged_memory_or_none_at_all_changes_nothing(pictures, root, monkeypatch):
    before = content_hash(pictures)
    for file in (root / "contents").iterdir():
        file.write_bytes(b'{"states": 1, "train/ant/0.png": ["x"]}')
    assert content_hash(pictures) == before
    monkeypatch.setenv("METARUN_DATA", "/dev/null/x")
    assert content_hash(pictures) == before
