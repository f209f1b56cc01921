"""Tasks whose support set and queries are of different groups of examples."""

import logging
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.data import SPLITS, ClassDataset, ExampleGroups, Examples, Sinusoid
from metarun.data.files.cache import apply_storage
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.source import task_source
from metarun.tasks.stream import StreamSpec
from metarun.tasks.validation import check_tasks
from metarun.tasks.varying_stream import VaryingTaskStream

CPU = torch.device("cpu")
# Recordings of words by speakers, mixed among each other within a word.
WORDS = {"yes": "aaabbbbcc", "no": "bbbaaacccc", "up": "cccbbb", "down": "ababab", "left": "aaaaaaaa"}


def words(spoken=WORDS, **more) -> ClassDataset:
    """Return the same words in each split; the only number of a recording is its row."""

    def make_split(split) -> Examples:
        rows = np.arange(sum(map(len, spoken.values())), dtype=np.uint8)
        values = np.split(rows[:, None], np.cumsum([*map(len, spoken.values())])[:-1])
        return Examples.from_classes({f"{split} {word}": rows for word, rows in zip(spoken, values, strict=True)})

    groups = ExampleGroups.of("".join(spoken.values()))
    return ClassDataset(
        "words",
        {split: make_split(split) for split in SPLITS},
        example_groups={"speaker": dict.fromkeys(SPLITS, groups)},
        **more,
    )


def stream(data=None, way=2, shot=1, query=2, seed=0, across="speaker", disjoint=False, **more) -> ClassTaskStream:
    shape = TaskShape(way, shot, query, across=across, **more)
    return ClassTaskStream(data or words(), StreamSpec("test", shape, seed, CPU, torch.float32, disjoint))


def speakers(rows, spoken=WORDS) -> list[set[str]]:
    """Return the speakers of each task."""
    of_row = "".join(spoken.values())
    return [{of_row[row] for row in task if row >= 0} for task in rows.flatten(1).tolist()]


def test_support_set_and_queries_are_by_one_speaker_each_and_not_by_the_same():
    tasks = stream()
    support, query = tasks.rows(0, 2000)
    found = Counter((one.pop(), *other) for one, other in zip(speakers(support), speakers(query), strict=True))
    assert set(found) == {(one, other) for one in "abc" for other in "abc" if one != other}
    assert list(found.values()) == pytest.approx([2000 / 6] * 6, abs=70), "each pair is equally likely"
    classes = tasks.class_of(query[..., 0])
    assert classes.unique().tolist() == [0, 1, 2, 3]
    by_a_and_b = [task for task, one in zip(classes.tolist(), speakers(support), strict=True) if one == {"a"}]
    assert all(2 not in task or 3 not in task for task in by_a_and_b)
    check_tasks(tasks)


def test_known_tasks_stay_the_same_for_ever():
    support, query = stream().rows(0, 2)
    assert [support.flatten(1).tolist(), query.flatten(1).tolist()] == KNOWN


KNOWN = [[[25, 14], [17, 20]], [[30, 26, 9, 11], [10, 9, 23, 24]]]


@settings(max_examples=25, deadline=None)
@given(
    spoken=st.lists(st.lists(st.sampled_from("abcd"), min_size=2, max_size=12), min_size=2, max_size=6),
    way=st.integers(2, 3),
    shot=st.integers(1, 3),
    query=st.integers(1, 3),
    unequal=st.booleans(),
    seed=st.integers(0, 9),
)
def test_every_task_keeps_the_rules_or_there_is_a_sentence(spoken, way, shot, query, unequal, seed):
    named = {f"word{i}": "".join(by) for i, by in enumerate(spoken)}
    imbalance = "meta_dataset" if unequal else None
    try:
        tasks = stream(words(named), way, shot, query, seed, imbalance=imbalance)
    except UserError:
        return
    support, queries = tasks.rows(0, 50)
    for one, other in zip(speakers(support, named), speakers(queries, named), strict=True):
        assert len(one) == len(other) == 1
        assert one != other
    assert (support >= 0).flatten(1).sum(1).tolist() == [way * shot] * 50
    of_class = tasks.class_of(support.where(support >= 0, queries[..., :1]))
    assert torch.equal(of_class, tasks.class_of(queries)[..., :1].expand_as(of_class))
    check_tasks(tasks, 50)
    again = stream(words(named), way, shot, query, seed, imbalance=imbalance)
    assert torch.equal(again.rows(20, 5)[0], support[20:25])
    assert again.hash(9) == tasks.hash(9)


def test_the_hash_knows_the_groups():
    assert len({tasks.hash(9) for tasks in (stream(), stream(seed=1), stream(across=None))}) == 3
    assert stream().hash(9) == stream().hash(9)


def test_groups_of_classes_and_of_examples_together():
    data = words(groupings={"length": lambda name: str(len(name.split()[1]))})
    tasks = stream(data, within="length")
    classes = tasks.class_of(tasks.rows(0, 100)[0][..., 0]).sort(1).values
    assert classes.unique(dim=0).tolist() == [[1, 2]], "no and up"


def test_tasks_from_disk_of_features_and_of_ranges_are_the_same(root):
    data = words()
    assert torch.equal(stream(apply_storage(data, "disk")).draw(5, 4).query_x, stream(data).draw(5, 4).query_x)
    features = torch.from_numpy(data.splits["test"].values).float() / 255
    assert torch.equal(stream(data).of_features(features).draw(5, 4).support_x, stream(data).draw(5, 4).support_x)
    varying = VaryingTaskStream(stream(data, way=3), (2, 1), 0)
    for part, numbers in varying.by_shape(0, 30):
        support, query = part.rows(0, len(numbers))
        assert all(one != other for one, other in zip(speakers(support), speakers(query), strict=True))


def test_words_of_one_speaker_are_skipped_and_counted(caplog):
    with caplog.at_level(logging.INFO):
        stream()
    assert "skipped 1 class of meta-test, such as 'test left', without shot=1 examples by one speaker" in caplog.text


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"across": "speeker"}, r"across=speeker but the examples of words are grouped by speaker; .* null.*speaker"),
        (
            {"data": words({"yes": "ab", "no": "ab"}), "query": 2},
            r"query=2 but no class of .* 'test yes' has 1 by 'a'; lower `query` \(2\) or",
        ),
        (
            {"shot": 9},
            r"shot=9 but no class of split 'test' of words has that many examples by one speaker: 'test left' has 8",
        ),
        (
            {"data": words({"yes": "aaab", "no": "bbba"}), "query": 3, "shot": 2},
            "has shot=2 examples by one speaker and query=3 by another: 'test yes' has 3 by 'a' and at most 1 by",
        ),
        ({"way": 5}, r"way=5 but no two groups by speaker of .* 'a' and 'b' have 3 classes with shot=1 and query=2"),
        ({"disjoint": True}, r"test.interval=open but across=speaker draws tasks that share examples; set .*closed"),
        (
            {"imbalance": "linear"},
            r"imbalance=linear is not a known way to share out examples; set `imbalance` to meta_dataset",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(asked, message):
    with pytest.raises(UserError, match=message):
        stream(**asked)


def test_functions_have_no_groups():
    shape = TaskShape(1, 5, 5, across="speaker")
    with pytest.raises(UserError, match=r"across=speaker but sinusoid has no classes; set `across=null`"):
        task_source(Sinusoid()).stream("test", shape, 0, CPU, torch.float32)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([], r"the example_groups of words are a list"),
        ({"speaker": {}}, r"the groups by speaker of split 'train' of words are None; make them metarun.data.Exampl"),
        (
            {"speaker": dict.fromkeys(SPLITS, ExampleGroups.of("ab"))},
            r"int64 of shape \(2,\) but there are 39 examples",
        ),
        (
            {"speaker": dict.fromkeys(SPLITS, ExampleGroups(np.full(39, 2), ("a", "b")))},
            "have a number below 0, or not below 2",
        ),
    ],
)
def test_wrong_groups_are_refused(groups, message):
    data = words()
    with pytest.raises(UserError, match=message):
        ClassDataset("words", data.splits, example_groups=groups)
