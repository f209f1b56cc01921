"""Tasks whose classes are all of one group."""

import logging
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from metarun.data import SPLITS, ClassDataset, Examples, Sinusoid
from metarun.data.files.cache import apply_storage
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.source import task_source
from metarun.tasks.stream import StreamSpec
from metarun.tasks.validation import check_tasks

CPU = torch.device("cpu")
SIZES = {"Greek": 4, "Latin": 8, "Runes": 2}  # classes


def letters(sizes=SIZES, examples=6) -> ClassDataset:
    """Return a data set whose groups are shuffled among each other."""

    def make_split(split) -> Examples:
        names = sorted((f"{alphabet}/{split}{c}" for alphabet, size in sizes.items() for c in range(size)), key=hash_of)
        random = np.random.default_rng(0)
        return Examples.from_classes(
            {name: random.integers(0, 256, (examples, 1, 2, 2)).astype(np.uint8) for name in names}
        )

    splits = {split: make_split(split) for split in SPLITS}
    return ClassDataset("letters", splits, groupings={"alphabet": lambda name: name.partition("/")[0]})


def hash_of(name):
    return name[::-1]


def stream(data=None, way=3, shot=1, query=2, seed=0, disjoint=False, within="alphabet") -> ClassTaskStream:
    shape = TaskShape(way, shot, query, within)
    return ClassTaskStream(data or letters(), StreamSpec("test", shape, seed, CPU, torch.float32, disjoint))


def alphabets(tasks: ClassTaskStream, data: ClassDataset, first: int, count: int) -> list[set[str]]:
    """Return the alphabets of each task."""
    names = data.splits["test"].class_names
    classes = tasks.class_of(tasks.rows(first, count)[0][..., 0])
    return [{names[c].partition("/")[0] for c in task} for task in classes.tolist()]


@pytest.mark.parametrize("disjoint", [False, True])
def test_all_classes_of_a_task_are_from_one_group(disjoint):
    data = letters()
    tasks = stream(data, disjoint=disjoint)
    found = alphabets(tasks, data, 0, tasks.available or 200)
    assert all(len(task) == 1 for task in found)
    assert set.union(*found) == {"Greek", "Latin"}, "Runes are too few for three ways"
    check_tasks(tasks)
    check_tasks(stream(data, way=2, disjoint=disjoint))


def test_groups_are_equally_likely_whatever_their_size_and_so_are_the_classes_within():
    data = letters()
    tasks = stream(data)
    found = Counter(task.pop() for task in alphabets(tasks, data, 0, 6000))
    assert found["Greek"] == pytest.approx(3000, abs=4.5 * 39)
    counts = tasks.class_of(tasks.rows(0, 6000)[0][..., 0]).flatten().bincount(minlength=14).tolist()
    for name, count in zip(data.splits["test"].class_names, counts, strict=True):
        expected = {"G": 3000 * 3 / 4, "L": 3000 * 3 / 8, "R": 0}[name[0]]
        assert count == pytest.approx(expected, abs=200)


def test_a_task_is_a_pure_function_of_the_seed_and_its_number():
    tasks = stream()
    assert torch.equal(tasks.rows(3, 4)[1], stream().rows(0, 9)[1][3:7])
    assert tasks.hash(9) == stream().hash(9)
    others = [stream(seed=1), stream(within=None), stream(way=4)]
    assert len({other.hash(9) for other in [tasks, *others]}) == 4


def test_known_tasks_stay_the_same_for_ever():
    assert stream().rows(0, 2)[0].squeeze(-1).tolist() == KNOWN


KNOWN = [[40, 3, 20], [66, 64, 73]]


def test_a_single_group_of_all_classes_gives_the_tasks_without_groups():
    data = replace(letters(), groupings={"alphabet": lambda name: "all"})
    assert torch.equal(stream(data).rows(0, 50)[0], stream(data, within=None).rows(0, 50)[0])


def test_disjoint_tasks_within_groups_share_no_example_and_use_all_there_is_room_for():
    tasks = stream(disjoint=True)
    rows = torch.cat(tasks.rows(0, tasks.available), -1)
    assert rows.unique().numel() == rows.numel()
    assert tasks.available == 4 * 2 // 3 + 8 * 2 // 3  # parts of 3 of 6 examples a class
    found = alphabets(tasks, letters(), 0, tasks.available)
    assert found != sorted(found, key=min), "groups are mixed, for who takes only the first tasks"


def test_tasks_from_disk_and_of_features_are_the_same(root):
    data = letters()
    stored = apply_storage(data, "disk")
    assert stored.splits["test"].on_disk
    in_memory, on_disk = stream(data).draw(5, 4), stream(stored).draw(5, 4)
    assert torch.equal(in_memory.query_x, on_disk.query_x)
    values = torch.from_numpy(data.splits["test"].values).float().flatten(1) / 255
    assert torch.equal(stream(data).of_features(values).draw(5, 4).query_x, in_memory.query_x.flatten(2))


def test_skipped_groups_are_counted(caplog):
    with caplog.at_level(logging.INFO):
        stream()
    assert "tasks of meta-test are within 2 of 3 groups by alphabet; too small for way=3: Runes 2" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        stream(way=2)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"way": 9}, r"way=9 but the largest alphabet in split 'test' of letters, 'Latin', has 8 classes; lower `way`"),
        ({"within": "alphabt"}, r"within=alphabt but the classes of letters are grouped by alphabet; set `within` to "),
        ({"data": replace(letters(), groupings={})}, r"the classes of letters are not in groups; set `within=null`"),
        (
            {"way": 8, "query": 3, "disjoint": True},
            r"room for 1 task of 8w1s within alphabet with 3 queries if no .*; lower `way` \(8\) or `query`",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(asked, message):
    with pytest.raises(UserError, match=message):
        stream(**asked)


def test_a_class_of_a_skipped_group_may_have_few_examples():
    data = letters()
    test = data.splits["test"]
    few = {n: test.of_class(n)[: 1 if n.startswith("Runes") else None] for n in test.class_names}
    changed = replace(data, splits={**data.splits, "test": Examples.from_classes(few)})
    assert len(stream(changed).draw(0, 3)) == 3
    with pytest.raises(UserError, match=r"shot \+ query = 1 \+ 2 but class 'Runes/test0' .* has 1 example"):
        stream(changed, way=2)


def test_functions_have_no_groups():
    with pytest.raises(UserError, match="within=alphabet but sinusoid has no classes"):
        task_source(Sinusoid()).stream("train", TaskShape(1, 5, 5, "alphabet"), 0, CPU, torch.float32)


def test_groupings_are_functions():
    with pytest.raises(UserError, match=r"the groupings of letters are \{'alphabet': 'Greek'\}; make them a mapping"):
        replace(letters(), groupings={"alphabet": "Greek"})
