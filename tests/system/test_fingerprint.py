"""The content hash of a file or folder: every change is noticed, and nothing is read twice."""

import os
import shutil
import time
from pathlib import Path

import pytest

from metarun.system import fingerprint
from metarun.system.fingerprint import content_hash
from metarun.system.hash_cache import STABLE_AFTER_NS
from tests.support.fake_images import split_folders, write_folder, write_zip

DAY = 86_400 * 10**9


@pytest.fixture
def pictures(root, tmp_path, monkeypatch) -> Path:
    """A folder whose hash is cached; this file system's timestamps are precise enough not to wait."""
    monkeypatch.setattr("metarun.system.hash_cache.STABLE_AFTER_NS", 0)
    folder = write_folder(tmp_path / "pictures", split_folders())
    time.sleep(0.02)  # a tick of the kernel's clock
    content_hash(folder)
    return folder


def read_files(monkeypatch) -> list[str]:
    """Return a list that collects the name of each file that is read from now on."""
    read, hash_of_file = [], fingerprint._hash_of_file
    monkeypatch.setattr(fingerprint, "_hash_of_file", lambda path: read.append(path.name) or hash_of_file(path))
    return read


def with_times_of(file: Path, change) -> None:
    """Change a file and set its mtime back."""
    state = file.stat()
    change()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert file.stat().st_size == state.st_size


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    with file.open("r+b") as opened:  # in place: the same inode
        opened.write(content)


def test_unchanged_files_are_not_read_again(pictures, monkeypatch):
    before, read = content_hash(pictures), read_files(monkeypatch)
    assert content_hash(pictures) == content_hash(Path(f"{pictures}/../pictures")) == before
    assert read == []


def test_only_a_changed_file_is_read(pictures, monkeypatch):
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


def replaced_by_another_file(folder: Path) -> None:
    file, other = folder / "train/ant/0.png", folder.parent / "other"
    shutil.copy2(file, other)
    with_times_of(other, lambda: flip(other))
    other.replace(file)


def names_swapped(folder: Path) -> None:
    one, other = folder / "train/ant/0.png", folder / "train/ant/1.png"
    one.rename(folder / "x")
    other.rename(one)
    (folder / "x").rename(other)


def folder_replaced(folder: Path) -> None:
    """Each file keeps all three of its times; only the inodes differ."""
    another = folder.parent / "another"
    shutil.copytree(folder / "train/ant", another)
    with_times_of(another / "0.png", lambda: flip(another / "0.png"))
    (folder / "train/ant").rename(folder.parent / "before")
    another.rename(folder / "train/ant")


def file_renamed(folder: Path) -> None:
    (folder / "train/ant/0.png").rename(folder / "train/ant/9.png")


def file_removed(folder: Path) -> None:
    (folder / "train/ant/0.png").unlink()


def replaced_by_a_link(folder: Path) -> None:
    file = folder / "train/ant/0.png"
    file.unlink()
    file.symlink_to(folder / "train/ant/1.png")


CHANGES = [
    *(pixels_changed_in_place, replaced_by_a_copy_with_its_times, replaced_by_another_file, names_swapped),
    *(folder_replaced, file_renamed, file_removed, replaced_by_a_link),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_change_of_content_or_name_is_noticed(pictures, change):
    before = content_hash(pictures)
    change(pictures)
    assert content_hash(pictures) != before


def test_another_archive_unpacked_with_the_same_dates_is_noticed(pictures):
    for file in pictures.rglob("*.png"):
        os.utime(file, ns=(DAY, DAY))
    before = content_hash(pictures)
    shutil.rmtree(pictures)
    write_folder(pictures, {**split_folders(), "train/ant/0.png": split_folders()["train/ant/1.png"]})
    for file in pictures.rglob("*.png"):
        os.utime(file, ns=(DAY, DAY))
    assert content_hash(pictures) != before


def test_a_copy_with_other_times_has_the_same_hash(pictures):
    elsewhere = pictures.parent / "elsewhere"
    shutil.copytree(pictures, elsewhere, copy_function=shutil.copyfile)
    assert content_hash(elsewhere) == content_hash(pictures)
    write_folder(elsewhere, {".DS_Store": b"", "__MACOSX/train/._ant": b"", "train/Thumbs.db": b""})
    assert content_hash(elsewhere) == content_hash(pictures), "system files are ignored"


def test_a_recently_changed_file_is_not_cached(root, tmp_path, monkeypatch):
    assert STABLE_AFTER_NS == 2 * 10**9
    file = write_zip(tmp_path / "x.zip", split_folders())
    before, read = content_hash(file), read_files(monkeypatch)
    assert content_hash(file) == before
    assert read == ["x.zip"], "it was just written and may have changed unnoticed"


def test_a_damaged_or_missing_cache_changes_nothing(pictures, root, monkeypatch):
    before = content_hash(pictures)
    for file in (root / "contents").iterdir():
        file.write_bytes(b'{"states": 1, "train/ant/0.png": ["x"]}')
    assert content_hash(pictures) == before
    monkeypatch.setenv("METARUN_DATA", "/dev/null/x")
    assert content_hash(pictures) == before
