import os
import tracemalloc
import zipfile

import pytest

from metarun.data.archive import empty_folders, opened
from metarun.errors import UserError
from metarun.system.fingerprint import content_hash
from tests.support.fake_images import write_zip

LARGEST = 1 << 20


def read_all(place):
    with opened(place, LARGEST) as (names, read):
        return {name: read(name) for name in names}


def test_a_folder_and_a_zip_read_alike(tmp_path):
    files = {"a/b.txt": b"one", "c.txt": b"two"}
    (tmp_path / "x" / "a").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "x" / name).write_bytes(content)
    assert read_all(tmp_path / "x") == read_all(write_zip(tmp_path / "x.zip", files)) == files


def test_paths_with_detours_and_folders_as_entries_are_read_as_what_they_mean(tmp_path):
    assert read_all(write_zip(tmp_path / "x.zip", {"./a//b.txt": b"one", "a/": b"", "b.png/": b""})) == {
        "a/b.txt": b"one"
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["a.txt", "./a.txt"])
def test_a_file_that_a_zip_holds_twice_is_named(tmp_path, second):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", b"one")
        archive.writestr(second, b"another")
    with pytest.raises(UserError, match=r"holds 'a\.txt' twice"):
        read_all(tmp_path / "x.zip")


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_inside_a_member_is_told_however_it_is_packed(tmp_path, how):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", how) as archive:
        archive.writestr("a.txt", os.urandom(1_000))
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[40:200] = bytes(160)
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.zip is no whole zip archive"):
        read_all(tmp_path / "x.zip")


def test_a_member_that_says_it_is_larger_than_any_file_here_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(LARGEST + 1))
    with pytest.raises(UserError, match=r"a\.txt claims 1,048,577 bytes"):
        read_all(tmp_path / "x.zip")


def test_a_member_that_says_it_is_small_is_unpacked_no_further(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(30 * LARGEST))
        archive.infolist()[0].file_size = 10
    tracemalloc.start()
    with pytest.raises(UserError, match=r"x\.zip is no whole zip archive \(Bad CRC-32"):
        read_all(tmp_path / "x.zip")
    assert tracemalloc.get_traced_memory()[1] < LARGEST
    tracemalloc.stop()


def test_a_file_that_is_larger_than_any_here_is_not_read(tmp_path):
    (tmp_path / "x").mkdir()
    with (tmp_path / "x" / "a.txt").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(UserError, match=r"a\.txt has 1,048,577 bytes, more than any that is expected here"):
        read_all(tmp_path / "x")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("target", ["nothing", "/dev/zero", None])
def test_links_to_nothing_pipes_and_devices_are_no_files_and_do_not_hold_it_up(tmp_path, target):
    (tmp_path / "x").mkdir()
    if target:
        (tmp_path / "x" / "a.txt").symlink_to(target)
    else:
        os.mkfifo(tmp_path / "x" / "a.txt")
    assert len(content_hash(tmp_path / "x")) == 64
    with pytest.raises(UserError, match=r"a\.txt is no file but a link to nothing, a pipe or a device"):
        read_all(tmp_path / "x")


@pytest.mark.timeout(20)
def test_a_pipe_is_no_zip(tmp_path):
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(UserError, match=r"x\.zip is neither a folder nor a file"):
        read_all(tmp_path / "x.zip")


def test_a_zip_that_was_packed_with_backslashes_has_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        for name in ("a\\", "a\\b\\1.png", "c\\"):
            entry = zipfile.ZipInfo("it")
            entry.filename = name
            archive.writestr(entry, b"x" if name.endswith("g") else b"")
    with opened(tmp_path / "it.zip", LARGEST) as (names, read):
        assert names == ["a/b/1.png"]
        assert read("a/b/1.png") == b"x"
        assert read("a/b/1.png", 0) == b""
    assert empty_folders(tmp_path / "it.zip") == ["c"]


def test_a_backslash_is_a_letter_where_there_are_slashes(tmp_path):
    with opened(write_zip(tmp_path / "it.zip", {"a/b\\c": b"x"}), LARGEST) as (names, _):
        assert names == ["a/b\\c"]
