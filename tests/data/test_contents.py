import dataclasses
import logging

import numpy as np
import pytest

from metarun.data import Examples, ImageFolder, Sinusoid
from metarun.data.contents import describe, log_contents
from metarun.data.examples import Skipped
from metarun.data.pictures.brightness import brightness, compare_brightness, is_closer_inverted
from tests.support.fake_images import make_picture, split_folders, write_folder
from tests.support.synthetic import make_dataset


@pytest.fixture(autouse=True)
def _empty_root(root):
    """Give each test a cache of its own."""


def test_the_line_counts_the_classes_and_examples_of_each_split():
    assert describe(make_dataset(sizes=(20,) * 3)) == "train 3 classes of 20 examples, val 3 of 20, test 3 of 20"
    unequal = describe(make_dataset(sizes=(1200, 5)))
    assert unequal == "train 2 classes of 5 to 1,200 examples, val 2 of 5 to 1,200, test 2 of 5 to 1,200"


def test_unlisted_classes_are_in_the_line_and_the_rest_are_warnings(caplog):
    caplog.set_level(logging.INFO)
    data = dataclasses.replace(make_dataset(sizes=(3,)), skipped=Skipped(("2 classes",), ("skipped: 3 .txt",)))
    log_contents(data)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "data: train 1 class of 3 examples, val 1 of 3, test 1 of 3; not used: 2 classes"),
        ("WARNING", "synthetic: skipped: 3 .txt"),
    ]


def test_a_family_of_functions_describes_what_is_drawn():
    assert describe(Sinusoid()).startswith("amplitude 0.1 to 5, phase 0 to")

    class Lines:
        name = "lines"

    assert describe(Lines()) == "drawn on demand"


def test_what_was_skipped_is_known_when_the_pictures_come_from_the_cache(tmp_path, monkeypatch):
    place = write_folder(tmp_path / "birds", split_folders() | {"train/ant/1.heic": b"x"})
    first = ImageFolder(str(place), size=12).load().skipped
    assert first.warnings == ("skipped unsupported files: 1 .heic",)
    monkeypatch.setattr("metarun.data.pictures.image_folder.find_layout", None)
    assert ImageFolder(str(place), size=12).load().skipped == first
    monkeypatch.undo()


def test_what_was_skipped_is_found_again_if_something_changed_or_the_note_is_damaged(tmp_path, root):
    place = write_folder(tmp_path / "birds", split_folders() | {"train/ant/1.heic": b"x"})
    ImageFolder(str(place), size=12).load()
    write_folder(place, {"train/ant/2.heic": b"x"})
    skipped = ("skipped unsupported files: 2 .heic",)
    assert ImageFolder(str(place), size=12).load().skipped.warnings == skipped
    (note,) = (root / "pictures").glob("*left-out.json")
    for damaged in (b"", b"{}", b'{"key": 1}', b"[]"):
        note.write_bytes(damaged)
        assert ImageFolder(str(place), size=12).load().skipped.warnings == skipped


def test_check_reports_what_was_skipped(tmp_path):
    place = write_folder(tmp_path / "birds", split_folders() | {"train/ant/1.heic": b"x"})
    assert ImageFolder(str(place), size=12).check() == (
        "train 3 classes of 4 examples, val 2 of 4, test 2 of 4; skipped unsupported files: 1 .heic; "
        "all can be decoded; not cached yet"
    )


def test_pictures_with_any_suffix_are_read(tmp_path):
    files = split_folders() | {
        f"val/dog/more{suffix}": make_picture(5, kind="JPEG") for suffix in (".jfif", ".jpe", "")
    }
    data = ImageFolder(str(write_folder(tmp_path / "birds", files)), size=12).load()
    assert data.splits["val"].sizes.tolist() == [7, 4]
    assert data.skipped == Skipped()


def test_invert_swaps_light_and_dark_and_has_a_cache_of_its_own(tmp_path):
    place = write_folder(tmp_path / "birds", split_folders())
    before, inverted = ImageFolder(str(place), size=12).load(), ImageFolder(str(place), size=12, invert=True).load()
    for split, examples in before.splits.items():
        assert np.array_equal(inverted.splits[split].values, 255 - examples.values)
    assert ImageFolder(str(place), size=12).load().hash == before.hash
    assert ImageFolder(str(place), size=12, invert=True).check().endswith("the cache matches")


def test_brightness_is_the_mean_and_sd_over_pictures():
    values = np.concatenate([np.zeros((3, 1, 2, 2), np.uint8), np.full((3, 1, 2, 2), 255, np.uint8)])
    assert brightness(Examples.from_classes({"a": values})) == (0.5, 0.5)
    assert brightness(Examples.from_classes({"a": values.astype(np.float32)})) is None
    many = np.full((5_000, 1, 2, 2), 51, np.uint8)
    assert brightness(Examples.from_classes({"a": many})) == (0.2, 0.0)


@pytest.mark.parametrize(
    ("trained", "tested", "far", "inverted"),
    [
        (0.08, 0.92, True, True),  # light on dark, and dark ink on white
        (0.92, 0.08, True, True),
        (0.75, 0.25, True, True),  # thick strokes
        (0.08, 0.22, False, False),
        (0.45, 0.55, False, True),  # photographs
        (0.55, 0.35, False, False),
        (0.08, 0.45, True, False),  # photographs beside characters
    ],
)
def test_ink_on_white_differs_from_light_on_dark_and_photographs_do_not_differ(trained, tested, far, inverted):
    assert (compare_brightness(trained, tested) is not None) == far
    assert far is False or is_closer_inverted(trained, tested) == inverted
