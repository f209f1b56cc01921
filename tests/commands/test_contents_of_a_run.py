"""What a run prints about its data: its size, what was skipped, and whether it looks like the training data."""

import json
from pathlib import Path

import pytest
from PIL import Image

from metarun.data import Glyphs
from tests.support.fake_images import write_pictures

SMALL = [
    *("train.iterations=1", "train.validate_every=1", "train.validate_tasks=2", "train.meta_batch=1", "train.way=2"),
    *("test.tasks=3", "backbone.filters=4", "task.way=2", "train.query=2", "task.query=2"),
]
INK = ["data=image_folder", "data.root=ink", "data.size=28", "data.channels=1"]


@pytest.fixture
def printed_by(metarun):
    """Run a command in this process; return its output as one line."""

    def run(*words):
        code, printed, _ = metarun(*words)
        assert code == 0
        return " ".join(printed.split())

    return run


def row(**of) -> dict:
    rows = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    (found,) = (each for each in rows if of.items() <= each.items())
    return found


def write_ink(classes: int) -> None:
    """Write glyphs as pictures of dark ink on white."""
    for split, examples in Glyphs().load().splits.items():
        for class_name in examples.class_names[:classes]:
            folder = Path("ink") / split / class_name
            folder.mkdir(parents=True)
            for i, drawing in enumerate(examples.of_class(class_name)):
                Image.fromarray(255 - drawing[0]).save(folder / f"{i}.png")


@pytest.mark.slow
@pytest.mark.sampled
def test_every_run_prints_what_it_found_and_skipped_with_and_without_the_cache(printed_by):
    write_pictures(Path("mine"))
    Path("mine/train/blue/1.heic").write_bytes(b"x")
    Path("mine/test/light red").mkdir()
    told = [
        "data: train 5 classes of 4 examples, val 5 of 4, test 5 of 4",
        "image_folder: 1 folder contains no pictures and is not a class (test/light red)",
        "image_folder: skipped unsupported files: 1 .heic",
    ]
    for seed in (0, 1):
        printed = printed_by("train", "algo=protonet", "data=image_folder", "data.root=mine", f"seed={seed}", *SMALL)
        assert all(each in printed for each in told)
    for log in Path("results/runs").glob("*/run.log"):
        assert all(each in log.read_text() for each in told)


def test_a_run_on_functions_prints_their_parameters(printed_by):
    words = ["data=sinusoid", "train.iterations=1", "train.validate_every=1", "train.validate_tasks=2", "test.tasks=2"]
    assert "data: amplitude 0.1 to 5, phase 0 to 3.14159, x -5 to 5" in printed_by("train", "algo=maml", *words)


@pytest.mark.slow
def test_a_test_on_inverted_pictures_warns_and_names_the_key(printed_by):
    write_ink(2)
    printed_by("train", "algo=protonet", *SMALL)
    trained = row(test_data="glyphs")
    assert trained["example_mean"] == pytest.approx(0.076, abs=0.01)
    told = (
        "image_folder: its pictures have a mean brightness of 0.93 but the training pictures had 0.08; set data.invert="
    )
    assert f"{told}true if light and dark" in printed_by("test", f"run={trained['id']}", *INK)
    assert "mean brightness" not in printed_by("test", f"run={trained['id']}", *INK, "data.invert=true")
    printed = printed_by("test", f"run={trained['id']}", "data=glyphs", "data.invert=true")
    assert "glyphs: its pictures have a mean brightness of 0.92" in printed
    assert "set data.invert=false if" in printed


@pytest.mark.slow
def test_data_invert_improves_the_accuracy_on_inverted_pictures(printed_by):
    write_ink(20)
    printed_by("train", "algo=protonet", "train.iterations=150", "train.validate_every=150", "backbone.filters=16")
    trained = row()["id"]
    printed_by("test", f"run={trained}", *INK, "test.tasks=100")
    as_it_is = row(test_data="image_folder")["accuracy"]
    printed_by("test", f"run={trained}", *INK, "test.tasks=101", "data.invert=true")
    assert row(test_tasks=101)["accuracy"] > as_it_is + 0.2


@pytest.mark.slow
def test_duplicates_of_the_training_data_are_not_counted_for_other_test_data(printed_by):
    write_pictures(Path("mine"), count=4)
    write_pictures(Path("other"), first=1_000, count=4)
    Path("mine/train/blue/0.png").write_bytes(Path("mine/train/red/0.png").read_bytes())
    Path("mine/train/pink/1.png").write_bytes(Path("mine/train/pink/0.png").read_bytes())
    Path("mine/val/light red/1.png").write_bytes(Path("mine/train/grey/0.png").read_bytes())
    printed_by("train", "algo=protonet", "data=image_folder", "data.root=mine", *SMALL)
    trained = row()
    assert (trained["duplicates_within_splits"], trained["duplicates_across_splits"]) == (2, 1)
    assert trained["duplicates_across_classes"] == 1
    printed = printed_by("test", f"run={trained['id']}", "data=image_folder", "data.root=other")
    assert not any(words in printed for words in ("in more than", "more than once", "trained on:"))
    tested = row(trained_by=trained["id"])
    keys = ("duplicates_within_splits", "duplicates_across_splits", "duplicates_across_classes")
    assert [tested[key] for key in keys] == [0, 0, 0]
    Path("other/test/dark red/0.png").write_bytes(Path("mine/train/red/2.png").read_bytes())
    printed = printed_by("test", f"run={trained['id']}", "data=image_folder", "data.root=other")
    two = "number 3 of class 'red' in 'train' and number 1 of class 'dark red' in 'test'"
    assert f"1 example of image_folder was trained on: {two}; meta-test may have been seen" in printed
