import numpy as np
import pytest

from metarun.data.pictures.omniglot_archive import read_part
from metarun.errors import UserError
from tests.support.fake_omniglot import PARTS, make_files, make_png, zip_bytes

BACKGROUND = PARTS[0]
ONE = "images_background/Greek/character02/0002_07.png"


@pytest.fixture
def files():
    return make_files("images_background")


@pytest.fixture
def read(tmp_path):
    def read(files):
        (tmp_path / "half.zip").write_bytes(files if isinstance(files, bytes) else zip_bytes(files))
        return read_part(tmp_path / "half.zip", BACKGROUND)

    return read


def test_a_zip_gives_20_small_drawings_a_character_with_ink_255(read, files):
    characters = read(files)
    assert list(characters) == ["Greek/character01", "Greek/character02", "Hebrew/character01"]
    drawings = characters["Greek/character02"]
    assert drawings.shape == (20, 1, 28, 28)
    assert drawings.dtype == np.uint8
    assert (drawings.max((1, 2, 3)) > 200).all()
    assert np.median(drawings) == 0
    columns = drawings.sum((1, 2)).argmax(-1)  # the block moves to the right from drawer to drawer
    assert (np.diff(columns) >= 0).all()
    assert columns[-1] > columns[0] + 15


def test_a_folder_and_its_zip_read_the_same(read, files, tmp_path):
    for name, content in files.items():
        (tmp_path / "half" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "half" / name).write_bytes(content)
    from_folder, from_zip = read_part(tmp_path / "half", BACKGROUND), read(files)
    assert list(from_folder) == list(from_zip)
    assert all(np.array_equal(from_folder[name], from_zip[name]) for name in from_zip)


def test_other_files_in_an_archive_are_ignored(read, files):
    about = {"__MACOSX/images_background/Greek/character01/._0001_01.png": b"x", "images_background/Thumbs.db": b"x"}
    assert len(read(files | about)) == 3


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png", "..\\evil.png"])
def test_a_path_outside_the_archive_is_refused(read, files, name):
    with pytest.raises(UserError, match=r"half.zip contains '.*evil.png', a path outside the archive"):
        read(files | {name: b"x"})


def test_a_missing_character_is_named(read, files):
    with pytest.raises(
        UserError,
        match=r"2 characters in 2 alphabets \(Greek/character01 is missing\) but images_background has 3 in 2",
    ):
        read({name: content for name, content in files.items() if "Greek/character01" not in name})


def test_a_missing_alphabet_is_counted(read, files):
    with pytest.raises(UserError, match="contains 2 characters in 1 alphabet but images_background has 3 in 2"):
        read({name: content for name, content in files.items() if "Hebrew" not in name})


def test_the_other_half_under_this_name_is_refused(read):
    with pytest.raises(UserError, match="contains 2 characters in 1 alphabet but images_background has 3 in 2"):
        read(make_files("images_evaluation"))


def test_a_missing_drawing_is_named(read, files):
    del files[ONE]
    with pytest.raises(
        UserError, match=r"Greek/character02 in .*half.zip should have 20 drawings but drawing 07 is missing"
    ):
        read(files)


def test_an_unexpected_drawing_is_named(read, files):
    with pytest.raises(
        UserError, match=r"Greek/character02 in .* should have 20 drawings but drawing 21 is unexpected"
    ):
        read(files | {ONE.replace("_07", "_21"): files[ONE]})


def test_a_duplicate_drawing_is_named(read, files):
    with pytest.raises(UserError, match="contains drawing 07 of Greek/character02 twice"):
        read(files | {f"copy/{ONE}": files[ONE]})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GIF89a no png", "not a PNG"),
        (b"", "not a PNG"),
        (make_png(2, 7)[:-20], "it is truncated"),
        (make_png(2, 7)[:40], ".+"),
        (make_png(2, 7, side=200), "200x200 pixels"),
    ],
    ids=["another format", "empty", "end lost", "head only", "another size"],
)
def test_a_damaged_drawing_is_named(read, files, content, reason):
    with pytest.raises(UserError, match=rf"0002_07.png is not a PNG of 105x105 pixels \({reason}\)"):
        read(files | {ONE: content})


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_zip_is_refused_and_kept(read, files, tmp_path, kept):
    whole = zip_bytes(files)
    with pytest.raises(UserError, match=r"half.zip is not a valid zip archive .*; download it again or delete it"):
        read(whole[: int(kept * len(whole))])
    assert (tmp_path / "half.zip").exists()


def test_a_zip_with_a_damaged_member_is_refused(read, files):
    whole = bytearray(zip_bytes(files))
    whole[100:140] = bytes(40)
    with pytest.raises(UserError, match=r"half.zip"):
        read(bytes(whole))


def test_a_member_that_is_too_large_is_not_unpacked(read, files):
    with pytest.raises(
        UserError, match=r"half.zip is not a valid zip archive \(.*0002_07.png claims 2,000,000 bytes\)"
    ):
        read(files | {ONE: bytes(2_000_000)})
