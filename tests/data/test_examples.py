import numpy as np
import pytest

from metarun.data import ClassDataset, Examples
from metarun.errors import UserError


def make(train, val, test) -> ClassDataset:
    splits = {"train": train, "val": val, "test": test}
    return ClassDataset(
        "mine",
        {split: Examples.from_classes({split: values, f"{split} 2": values}) for split, values in splits.items()},
    )


def test_bytes_are_divided_by_255_and_floats_are_not():
    pictures = np.zeros((3, 1, 4, 4), np.uint8)
    assert make(pictures, pictures, pictures).inputs["x"].kind == "bytes"
    floats = pictures.astype(np.float32)
    assert make(floats, floats, floats).inputs["x"].kind == "floats"


@pytest.mark.parametrize(
    ("dtypes", "message"),
    [
        (("f8", "f8", "f8"), "split 'train' of mine has dtype float64 but examples must be uint8"),
        (("u1", "u1", "f4"), "split 'test' of mine has dtype float32 but 'train' has uint8; convert one of them"),
    ],
)
def test_examples_of_another_dtype_are_refused(dtypes, message):
    with pytest.raises(UserError, match=message):
        make(*(np.zeros((3, 1, 4, 4), dtype) for dtype in dtypes))


def test_examples_of_another_shape_are_refused():
    with pytest.raises(UserError, match=r"'test' of mine has examples of shape \(1, 4, 5\) but 'train' of \(1, 4, 4\)"):
        make(*(np.zeros((3, 1, 4, width), np.uint8) for width in (4, 4, 5)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            np.zeros((2, 4)),
            r"^class 'train2' has examples of shape \(4,\) but 'train0' of \(3,\); give all the same shape",
        ),
        (np.zeros((2, 3, 1)), r"^class 'train2' has examples of shape \(3, 1\) but 'train0' of \(3,\)"),
        ([np.zeros(3), np.zeros(4)], r"^class 'train2' has examples of several shapes; give all the same shape"),
        (None, r"^class 'train2' is a NoneType but it must be an array; convert it"),
    ],
)
def test_a_class_of_another_shape_is_named(wrong, message):
    classes = {f"train{c}": np.zeros((2, 3)) for c in range(4)}
    with pytest.raises(UserError, match=message):
        Examples.from_classes({**classes, "train2": wrong})


def test_a_split_without_classes_is_named():
    some = Examples.from_classes({"a": np.zeros((2, 3), np.uint8)})
    with pytest.raises(UserError, match="split 'val' of mine has no classes; add some"):
        ClassDataset("mine", {"train": some, "val": Examples.from_classes({}), "test": some})
