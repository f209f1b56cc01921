import zipfile
from io import BytesIO

import pytest
from PIL import Image

from metarun.data.files.archive import empty_folders, open_files
from metarun.data.pictures.picture_files import count_by_suffix, find_pictures
from tests.support.fake_images import make_picture, write_folder, write_zip

KINDS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


def found(place):
    with open_files(place, 1 << 20) as (names, read):
        return find_pictures(names, read)


def write(kind, where, files):
    return write_zip(where / "it.zip", files) if kind == "zip" else write_folder(where / "it", files)


@pytest.mark.parametrize("kind", ["zip", "folder"])
@pytest.mark.parametrize("name", ["a", "a.", "a.dat", "a.heic", "a.picture of the month", "2025.11.26"])
def test_a_file_that_begins_like_a_picture_is_one_whatever_its_name(tmp_path, kind, name):
    files = {f"{i}/{name}": make_picture(1, kind=each) for i, each in enumerate(KINDS)}
    assert len(found(write(kind, tmp_path, files)).pictures) == len(KINDS)


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jpeg", "jpe", "JFIF", "jfif", "tif", "Tiff", "pbm", "dib"])
def test_a_file_with_a_known_suffix_is_not_read(suffix):
    def read(name, first=None):
        raise AssertionError(f"{name} was read")

    assert find_pictures([f"a/1.{suffix}"], read).pictures == [f"a/1.{suffix}"]


def test_only_the_first_bytes_are_read():
    asked = []

    def read(name, first=None):
        asked.append(first)
        return b"x"

    assert find_pictures(["a.bin"], read).others == ["a.bin"]
    assert all(first is not None and first <= 64 for first in asked)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"BM of a text",
        b"P5 of a text",
        b"GIF",
        b"RIFF    WAVE",
        b"\0\0\0\x18ftypavif",
        b"\x93NUMPY",
        b"<svg>",
    ],
)
def test_a_file_that_begins_otherwise_is_not_a_picture(tmp_path, content):
    files = found(write_folder(tmp_path, {"a/1.thing": content}))
    assert (files.pictures, files.others) == ([], ["a/1.thing"])


def test_raw_photographs_are_not_pictures_although_they_begin_like_tiff(tmp_path):
    files = {"a/1.nef": make_picture(1, kind="TIFF"), "a/2.dng": make_picture(2, kind="TIFF")}
    assert found(write_folder(tmp_path, files)).others == ["a/1.nef", "a/2.dng"]


def test_system_files_and_readmes_are_ignored(tmp_path):
    names = [
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "README.md",
        "readme",
        "LICENSE",
        "Licence.txt",
        "LICENSE-CC0.txt",
    ]
    files = {f"a/{name}": b"x" for name in [*names, "__MACOSX/._1.png", ".cache/1.png"]}
    files["a/license_plate.png"] = make_picture(1)
    files["a/license_plate"] = make_picture(2)
    assert found(write_folder(tmp_path, files)).pictures == ["a/license_plate.png"]
    assert found(tmp_path).others == []


def test_a_broken_link_without_a_known_suffix_is_not_a_picture(tmp_path):
    (tmp_path / "1.dat").symlink_to(tmp_path / "nowhere")
    assert found(tmp_path).others == ["1.dat"]


def test_suffixes_are_counted_the_most_frequent_first():
    assert count_by_suffix(["a.txt", "b.HEIC", "c/d.heic", "e", "a. b"]) == "2 .heic, 2 without a suffix, 1 .txt"
    assert count_by_suffix(f"a.{letter}" for letter in "abcdefghij").endswith("1 .h, 2 others")


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_empty_folders_are_found(tmp_path, kind):
    if kind == "folder":
        (tmp_path / "it" / "a" / "b").mkdir(parents=True)
        write_folder(tmp_path / "it", {"c/1.png": b"x"})
        assert empty_folders(tmp_path / "it") == ["a/b"]
        return
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        for name in ("a/", "a/b/", "c/", "c/1.png"):
            archive.writestr(name, b"")
    assert empty_folders(tmp_path / "it.zip") == ["a/b"]


def test_pillow_reads_every_format(tmp_path):
    for kind in KINDS:
        assert Image.open(BytesIO(make_picture(1, kind=kind))).format == kind
