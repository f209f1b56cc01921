from dataclasses import replace

import numpy as np
import pytest
import torch

from metarun.data import ClassDataset, Examples
from metarun.data.files.cache import apply_storage
from metarun.errors import UserError
from metarun.tasks.augmentation import AugmentedStream, augmentations
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.made_classes import check_drawn, check_labels, clusters, single_examples, without_labels
from metarun.tasks.stream import StreamSpec
from metarun.tasks.validation import check_tasks
from tests.support.synthetic import make_dataset

CPU = torch.device("cpu")


def relabelled(data: ClassDataset, sizes: list[int]) -> ClassDataset:
    """Return the same examples in the same places with other labels."""
    offsets = np.cumsum([0, *sizes])
    names = {split: tuple(f"{split} other {c}" for c in range(len(sizes))) for split in data.splits}
    return replace(data, splits={s: Examples(each.values, offsets, names[s]) for s, each in data.splits.items()})


def of_examples(data=None, shot=1, query=2, way=5) -> ClassTaskStream:
    data, shape = data or make_dataset(), TaskShape(way, shot, query)
    made = single_examples(data.splits["train"], shape, data.name, "train")
    return ClassTaskStream(data, StreamSpec("train", shape, 0, CPU, torch.float32), made=made)


def with_changes(stream: ClassTaskStream, value=None) -> AugmentedStream:
    changes = augmentations(value or {"dropout": 0.5}, make_dataset().inputs, "x")
    return AugmentedStream(stream, changes, "train", 0, keeps_first=True)


def test_a_class_is_one_example_and_all_its_members_are_copies_of_it():
    stream = of_examples(shot=2, query=3)
    check_tasks(stream)
    tasks = stream.draw(0, 4)
    support, query = (x.unflatten(1, (5, -1)) for x in (tasks.support_x, tasks.query_x))
    assert torch.equal(torch.cat([support, query], 2), support[:, :, :1].expand(-1, -1, 5, -1, -1, -1))
    values = torch.from_numpy(make_dataset().splits["train"].values) / 255
    assert torch.equal(support[:, :, 0], values[tasks.classes])
    assert len({*tasks.classes.flatten().tolist()}) > 15, "tasks have different examples"


def test_the_first_support_example_is_as_it_is_and_all_others_are_changed():
    stream = of_examples(shot=2, query=3)
    plain, changed = stream.draw(3, 2), with_changes(stream).draw(3, 2)
    same = (changed.support_x == plain.support_x).flatten(2).all(2)
    assert torch.equal(same, torch.tensor([[True, False] * 5] * 2))
    assert not (changed.query_x == plain.query_x).flatten(2).all(2).any()
    kept = changed.query_x.unflatten(1, (5, 3))
    assert not torch.equal(kept[:, :, 0], kept[:, :, 1]), "each copy is changed by numbers of its own"
    assert torch.equal(changed.query_y, plain.query_y)


def test_changed_tasks_do_not_depend_on_what_is_drawn_together():
    stream = with_changes(of_examples())
    assert torch.equal(stream.draw(0, 6).query_x[4:], stream.draw(4, 2).query_x)


def test_how_examples_are_changed_is_in_the_hash_of_tasks_that_are_made_of_it():
    stream = of_examples()
    hashes = {with_changes(stream, {"dropout": p}).hash(5) for p in (0.1, 0.2)}
    assert len({*hashes, stream.hash(5), of_examples(query=3).hash(5)}) == 4
    assert with_changes(of_examples(), {"dropout": 0.1}).hash(5) in hashes


@pytest.mark.parametrize("of", ["examples", "clusters"])
def test_labels_are_not_read(of):
    data = make_dataset()
    other = relabelled(data, [7, 33, 50, 150])
    found = [of_examples(each) if of == "examples" else of_clusters(each) for each in (data, other)]
    one, same = (stream.draw(0, 20) for stream in found)
    assert torch.equal(one.support_x, same.support_x)
    assert torch.equal(one.query_x, same.query_x)


def of_clusters(data=None) -> ClassTaskStream:
    shape = TaskShape(2, 1, 2)
    labels = np.stack([np.arange(240) % 3, np.arange(240) % 5], 1).astype(np.int32)
    made = clusters(labels, shape, "synthetic", "train")
    return ClassTaskStream(data or make_dataset(), StreamSpec("train", shape, 0, CPU, torch.float32), made=made)


def test_a_task_is_of_clusters_of_one_partition():
    stream = of_clusters()
    check_tasks(stream)
    rows = stream._members[torch.cat(stream.rows(0, 200), 2)]  # (tasks, way, shot + query)
    classes = stream.draw(0, 200).classes
    by_three = (classes < 3).all(1)
    assert ((classes >= 3).all(1) | by_three).all()
    assert 60 < by_three.sum() < 140, "each partition is as likely as the other"
    assert torch.equal(rows[by_three] % 3, classes[by_three, :, None].expand(-1, -1, 3))
    assert torch.equal(rows[~by_three] % 5, classes[~by_three, :, None].expand(-1, -1, 3) - 3)


def test_small_clusters_and_partitions_of_few_clusters_are_left_out():
    labels = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [2, 0], [0, 0]], np.int32)
    made = clusters(labels, TaskShape(2, 1, 1), "d", "train")
    assert made.members.tolist() == [0, 1, 5, 2, 3]
    assert made.offsets.tolist() == [0, 3, 5]
    assert made.groups.offsets.tolist() == [0, 2]


def test_features_and_examples_on_disk_make_the_same_tasks(tmp_path, monkeypatch):
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))
    in_memory, on_disk = of_clusters().draw(5, 3), of_clusters(apply_storage(make_dataset(), "disk")).draw(5, 3)
    assert torch.equal(in_memory.query_x, on_disk.query_x)
    stream = of_clusters()
    features = stream.embed(lambda x: x.flatten(1)[:, :3], 64)
    assert features.shape == (240, 3)
    assert torch.equal(stream.of_features(features).draw(5, 3).query_x, in_memory.query_x.flatten(2)[..., :3])


REFUSED = {
    "too few examples": (
        lambda: of_examples(way=300),
        r"way=300 but split 'train' of synthetic has 240 examples, of which task.labels=none makes classes; "
        r"lower `way` \(300\)\.",
    ),
    "too few clusters": (
        lambda: clusters(np.array([[0], [0], [1]], np.int32), TaskShape(2, 1, 1), "d", "val"),
        r"way=2 but no partition of split 'val' of d has more than 1 cluster of 2 examples, of which task.labels="
        r"clusters makes classes; lower `way` \(2\) or `task.clusters`",
    ),
    "ranges": (
        lambda: without_labels(TaskShape(5, 1, 1, smallest=(2, 1)), "none"),
        r"way=2..5 and shot=1 but tasks with task.labels=none have one size; give numbers",
    ),
    "groups": (
        lambda: check_drawn(TaskShape(5, 1, 1, within="alphabet"), "none"),
        r"within=alphabet needs classes but `task.labels` \(none\) makes tasks without them; set `within=null`",
    ),
    "another word": (lambda: check_labels("umtra"), r"task.labels=umtra is not one of classes, none, clusters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_is_refused_in_a_sentence(case):
    make, sentence = REFUSED[case]
    with pytest.raises(UserError, match=sentence):
        make()
