import os
import tracemalloc
import zipfile

import pytest

from metarun.data.files.archive import empty_folders, open_files
from metarun.errors import UserError
from metarun.system.fingerprint import content_hash
from tests.support.fake_images import write_zip

MAX_BYTES = 1 << 20


def read_all(place):
    with open_files(place, MAX_BYTES) as (names, read):
        return {name: read(name) for name in names}


def test_a_folder_and_a_zip_read_the_same(tmp_path):
    files = {"a/b.txt": b"one", "c.txt": b"two"}
    (tmp_path / "x" / "a").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "x" / name).write_bytes(content)
    assert read_all(tmp_path / "x") == read_all(write_zip(tmp_path / "x.zip", files)) == files


def test_paths_are_normalised_and_folder_entries_are_ignored(tmp_path):
    assert read_all(write_zip(tmp_path / "x.zip", {"./a//b.txt": b"one", "a/": b"", "b.png/": b""})) == {
        "a/b.txt": b"one"
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["a.txt", "./a.txt"])
def test_a_file_that_is_in_a_zip_twice_is_refused(tmp_path, second):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", b"one")
        archive.writestr(second, b"another")
    with pytest.raises(UserError, match=r"contains 'a\.txt' twice"):
        read_all(tmp_path / "x.zip")


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_refused_with_every_compression(tmp_path, how):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", how) as archive:
        archive.writestr("a.txt", os.urandom(1_000))
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[40:200] = bytes(160)
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.zip is not a valid zip archive"):
        read_all(tmp_path / "x.zip")


def test_a_member_that_claims_to_be_too_large_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(MAX_BYTES + 1))
    with pytest.raises(UserError, match=r"a\.txt claims 1,048,577 bytes"):
        read_all(tmp_path / "x.zip")


def test_a_member_that_claims_to_be_small_is_not_unpacked_further(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(30 * MAX_BYTES))
        archive.infolist()[0].file_size = 10
    tracemalloc.start()
    with pytest.raises(UserError, match=r"x\.zip is not a valid zip archive \(Bad CRC-32"):
        read_all(tmp_path / "x.zip")
    assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    tracemalloc.stop()


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "x").mkdir()
    with (tmp_path / "x" / "a.txt").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match=r"a\.txt has 1,048,577 bytes but at most 1,048,576 are expected"):
        read_all(tmp_path / "x")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("target", ["nothing", "/dev/zero", None])
def test_broken_links_pipes_and_devices_are_refused_without_blocking(tmp_path, target):
    (tmp_path / "x").mkdir()
    if target:
        (tmp_path / "x" / "a.txt").symlink_to(target)
    else:
        os.mkfifo(tmp_path / "x" / "a.txt")
    assert len(content_hash(tmp_path / "x")) == 64
    with pytest.raises(UserError, match=r"a\.txt is a broken link, a pipe or a device, not a file"):
        read_all(tmp_path / "x")


@pytest.mark.timeout(20)
def test_a_pipe_is_not_a_zip(tmp_path):
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(UserError, match=r"x\.zip is neither a folder nor a file"):
        read_all(tmp_path / "x.zip")


def test_backslashes_in_a_zip_separate_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        for name in ("a\\", "a\\b\\1.png", "c\\"):
            entry = zipfile.ZipInfo("it")
            entry.filename = name
            archive.writestr(entry, b"x" if name.endswith("g") else b"")
    with open_files(tmp_path / "it.zip", MAX_BYTES) as (names, read):
        assert names == ["a/b/1.png"]
        assert read("a/b/1.png") == b"x"
        assert read("a/b/1.png", 0) == b""
    assert empty_folders(tmp_path / "it.zip") == ["c"]


def test_backslashes_are_literal_beside_slashes(tmp_path):
    with open_files(write_zip(tmp_path / "it.zip", {"a/b\\c": b"x"}), MAX_BYTES) as (names, _):
        assert names == ["a/b\\c"]
