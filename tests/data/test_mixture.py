"""Several data sets as one."""

from dataclasses import replace

import numpy as np
import pytest

from metarun.data import SPLITS, ClassDataset, MixedDatasets, Mixture, Sinusoid
from metarun.data.contents import describe
from metarun.data.duplicates import find_duplicates
from metarun.data.examples import Skipped
from metarun.errors import UserError
from tests.support.synthetic import make_dataset


class Made:
    """A source of a made data set."""

    licence = "MIT"

    def __init__(self, data, size=16):
        self.data, self.size = data, size

    def load(self):
        if isinstance(self.data, UserError):
            raise self.data
        return self.data

    def where(self):
        return "here"

    def check(self):
        return "all well"


class Bare:
    """A source of a user, with the least that it needs."""

    def load(self):
        return B


A, B = make_dataset(sizes=(3, 4)), make_dataset(sizes=(5, 2, 2), seed=1)


def test_examples_of_all_data_sets_come_one_after_the_other_without_a_copy():
    mixed = Mixture({"a": Made(A), "b": Made(B)}).load()
    for split in SPLITS:
        found, one, other = mixed.splits[split], A.splits[split], B.splits[split]
        assert found.class_names == tuple(f"a/{split} {c}" for c in range(2)) + tuple(
            f"b/{split} {c}" for c in range(3)
        )
        assert found.sizes.tolist() == [3, 4, 5, 2, 2]
        together = np.concatenate([one.values, other.values])
        assert len(found.values) == len(together)
        assert np.array_equal(found.values[5:9], together[5:9])  # on both sides of the border
        assert np.array_equal(found.values[8], together[8])
        assert np.array_equal(found.of_class(f"b/{split} 1"), other.of_class(f"{split} 1"))
    assert (mixed.name, mixed.weights) == ("a+b", {"a": 1, "b": 1})
    assert describe(mixed) == f"a: {describe(A)}; b: {describe(B)}"


def test_the_hash_is_that_of_all_data_sets():
    hashes = {MixedDatasets(parts, {}).hash for parts in ({"a": A, "b": B}, {"a": A, "b": A}, {"a": A, "c": B})}
    assert len(hashes) == 3


def test_a_class_of_meta_test_that_another_data_set_trains_on_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))
    trained_on = replace(A.splits["test"], class_names=("one", "two"))
    swapped = ClassDataset("swapped", {**B.splits, "train": trained_on})
    mixed = MixedDatasets({"a": A, "b": swapped}, {})
    with pytest.raises(UserError, match=r"class 'b/two' in 'train' of a\+b and class 'a/test 1' in 'test' have the"):
        find_duplicates(mixed.name, mixed.hash, lambda: mixed.splits)


def test_what_was_skipped_is_told_of_each_data_set():
    skipping = ClassDataset("a", A.splits, Skipped(("1 class not listed",), ("2 pictures damaged",)))
    assert MixedDatasets({"a": skipping, "b": B}, {}).skipped == Skipped(
        ("a: 1 class not listed",), ("a: 2 pictures damaged",)
    )


@pytest.mark.parametrize(
    ("sets", "weights", "sentence"),
    [
        ({"a": A}, None, "a mixture needs two data sets or more; write data=NAME"),
        ({"a": A, "b": None}, None, "data.sets.b=None is not a data set; set `data.sets.b._target_`"),
        ({"a": A, "b": B}, {"a": 0.0, "b": 1}, "data.weights.a=0.0 but a weight must be above 0"),
        ({"a": A, "b": B}, {"a": 1}, "data.weights.b is missing; set `data.weights.b=1`"),
        ({"a": A, "b": B}, {"a": 1, "b": 1, "c": 1}, r"weights.c is not the weight of a data set in data=a\+b; omit"),
        ({"a": A, "b": Sinusoid()}, None, "b cannot be part of data=a.b, since its tasks are regression"),
        (
            {"a": A, "b": make_dataset(shape=(1, 8, 8))},
            None,
            r"examples of a are x \[1, 16, 16\] of bytes but those of b are x \[1, 8, 8\] of bytes; "
            "make them equal with `data.sets.b.size`, `data.sets.a.size`",
        ),
        (
            {"a": A, "b": UserError("data.root=x is missing in data.split", "set `data.root`.")},
            None,
            "b: data.sets.b.root=x is missing in data.sets.b.split; set `data.sets.b.root`",
        ),
    ],
)
def test_what_cannot_be_mixed_is_one_sentence(sets, weights, sentence):
    with pytest.raises(UserError, match=sentence):
        Mixture({name: data and Made(data) for name, data in sets.items()}, weights).load()


def test_each_data_set_is_checked_and_located():
    mixture = Mixture({"a": Made(A), "b": Made(B)})
    assert mixture.check() == "a: all well\nb: all well"
    assert mixture.where() == "a: here; b: here"
    assert mixture.cache_files() == []
    assert mixture.licence == "MIT"
    mixture.sets["b"] = Bare()  # a user's class needs only load()
    assert mixture.check() == "a: all well\nb: has no check() of its own"
    assert mixture.where() == "a: here; b: your code"
