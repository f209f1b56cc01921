"""Mistakes in a user's data set are reported in one sentence when the data set is made."""

import numpy as np
import pytest

from metarun.data import SPLITS, ClassDataset, Examples
from metarun.data.examples import PIECE
from metarun.errors import UserError


def make(split="val", values=None, offsets=None, names=None, **other) -> ClassDataset:
    """Make four examples of two classes in each split, with a mistake in one of them."""
    splits = {
        each: Examples(np.zeros((4, 3), np.float32), np.array([0, 2, 4]), (f"{each} a", f"{each} b")) for each in SPLITS
    }
    plain = splits[split]
    splits[split] = Examples(
        plain.values if values is None else values,
        plain.offsets if offsets is None else offsets,
        plain.class_names if names is None else names,
    )
    return ClassDataset(**{"name": "mine", "splits": splits, **other})


def with_number(number: float) -> np.ndarray:
    values = np.zeros((4, 3), np.float32)
    values[2, 1] = number
    return values


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"values": np.zeros(4, np.float32)}, r"is an array of shape \(4,\) but it must have one row"),
        (
            {"split": "train", "values": np.zeros(4, np.float32)},
            r"split 'train' of mine is an array of shape \(4,\)",
        ),
        ({"values": np.zeros((4, 0), np.float32)}, r"is an array of shape \(4, 0\) but"),
        (
            {"values": np.zeros((4, 3))},
            "split 'val' of mine has dtype float64 but examples must be uint8",
        ),
        ({"values": np.zeros((4, 3), np.uint8)}, "has dtype uint8 but 'train' has float32; convert one of them"),
        ({"values": [[0.0] * 3] * 4}, "is a list but examples must be a numpy array"),
        ({"values": np.zeros((4, 2), np.float32)}, r"has examples of shape \(2,\) but 'train' of \(3,\)"),
        (
            {"values": with_number(np.nan)},
            "class 'val b' of split 'val' of mine has an example with a number that is not",
        ),
        ({"values": with_number(-np.inf)}, "class 'val b' of split 'val' of mine has an example with a number that is"),
        ({"offsets": np.array([0, 4, 4])}, "class 'val b' of split 'val' of mine has no examples; remove it"),
        ({"offsets": np.array([0, 5, 4])}, "the offsets of split 'val' of mine must increase"),
        ({"offsets": np.array([1, 2, 4])}, "offsets of split 'val' of mine do not match its 2 classes and 4 examples"),
        ({"offsets": np.array([0, 4])}, "offsets of split 'val' of mine do not match its 2 classes and 4 examples"),
        ({"offsets": [0, 2, 4]}, "has offsets of type list but they must be a one-dimensional array of int64"),
        (
            {"offsets": np.array([0, 2, 4], np.int32)},
            "has offsets of type int32 but they must be a one-dimensional array of int64",
        ),
        ({"names": (1, 2)}, "has a class named 1 but names must be strings"),
        ({"names": ("a", "a")}, "has two classes named 'a'; rename one"),
        ({"names": "ab"}, "has class names of type str but they must be a tuple of strings"),
        ({"names": ()}, "split 'val' of mine has no classes"),
        ({"name": 3}, "the name of a data set is 3 but it must be a string"),
        ({"splits": [1, 2, 3]}, "the splits of mine are a list but must be a mapping of train, val and test"),
        ({"splits": {"train": 1}}, "split 'train' of mine is a int but must be metarun.data.Examples"),
        ({"splits": {}}, "split 'train' of mine has no classes; add some"),
    ],
)
def test_an_invalid_data_set_is_refused_when_it_is_made(wrong, message):
    with pytest.raises(UserError, match=message):
        make(**wrong)


def test_the_largest_floats_are_finite_and_the_last_piece_is_checked():
    assert make(values=np.full((4, 3), np.finfo(np.float32).max)).shape == (3,)
    rows = PIECE // 4096 + 3
    values = np.zeros((rows, 1024), np.float32)
    values[-1, -1] = np.nan
    several = {each: Examples(values, np.array([0, rows - 1, rows]), (f"{each} a", f"{each} b")) for each in SPLITS}
    with pytest.raises(UserError, match="class 'train b' of split 'train' of mine has an example"):
        ClassDataset("mine", several)


def test_a_memory_map_is_checked_once(settled, tmp_path, monkeypatch):
    splits = {}
    for split in SPLITS:
        np.save(tmp_path / f"{split}.npy", np.ones((4, 3), np.float32))
        mapped = np.load(tmp_path / f"{split}.npy", mmap_mode="r")
        splits[split] = Examples(mapped, np.array([0, 2, 4]), (f"{split} a", f"{split} b"))
    ClassDataset("mine", splits)
    monkeypatch.setattr("metarun.data.examples.check_finite", lambda *_: pytest.fail("it was read again"))
    ClassDataset("mine", splits)
