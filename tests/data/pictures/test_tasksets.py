"""The data of real learn2learn Tasksets, made here."""

import copy
import json
import logging
import random
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from metarun.cli.data import build_source
from metarun.config.run_id import run_id
from metarun.data import SPLITS, ClassDataset, Tasksets
from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.stream import StreamSpec
from tests.support.commands import run_here
from tests.support.reference import import_learn2learn, import_torchvision

pytestmark = pytest.mark.peers

CLASSES, PER_CLASS = 12, 6


@pytest.fixture(autouse=True)
def l2l():
    return import_learn2learn()


class Pictures(Dataset):
    """Pictures of one colour that encodes their class and number: colour = 6 * class + number + `first`."""

    def __init__(self, transform=lambda x: x, first=0, classes=CLASSES) -> None:
        self.transform = transform
        self.pictures = torch.arange(first, first + classes * PER_CLASS, dtype=torch.uint8)[:, None, None, None]
        self.pictures = self.pictures.expand(-1, 1, 4, 4)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index):
        return self.transform(self.pictures[index]), index // PER_CLASS


def taskset(l2l, dataset, *transforms):
    chosen = [l2l.data.transforms.NWays(dataset, 2), l2l.data.transforms.KShots(dataset, 2), *transforms]
    return l2l.data.Taskset(dataset, [*chosen, l2l.data.transforms.LoadData(dataset)])


def filtered(l2l, dataset, labels):
    return taskset(l2l, l2l.data.FilteredMetaDataset(dataset, labels))


def three(l2l, pictures: Dataset):
    """Three Tasksets of one dataset, four classes each."""
    dataset = l2l.data.MetaDataset(pictures)
    return tuple(filtered(l2l, dataset, list(range(first, first + 4))) for first in (0, 4, 8))


@pytest.fixture
def load(monkeypatch):
    """Load what a user's function returns."""

    def load(returned: object) -> ClassDataset:
        module = ModuleType("users_tasks")
        module.make = lambda: returned
        monkeypatch.setitem(sys.modules, "users_tasks", module)
        return Tasksets("users_tasks:make").load()

    return load


def colours(data: ClassDataset, split: str) -> dict[str, list[float]]:
    """Return the colours of each class of a split."""
    examples = data.splits[split]
    return {name: examples.of_class(name)[:, 0, 0, 0].tolist() for name in examples.class_names}


def of_class(label: int) -> list[int]:
    return list(range(label * PER_CLASS, (label + 1) * PER_CLASS))


def test_the_examples_of_each_class_come_from_the_dataset(load, l2l):
    data = load(three(l2l, Pictures()))
    assert data.shape == (1, 4, 4)
    for split, labels in zip(SPLITS, ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]), strict=True):
        assert colours(data, split) == {str(label): of_class(label) for label in sorted(labels, key=str)}


def test_a_task_has_metaruns_way_and_shot_and_examples_of_its_classes(load, l2l):
    data = load(three(l2l, Pictures()))
    stream = ClassTaskStream(data, StreamSpec("test", TaskShape(3, 1, 4), 0, torch.device("cpu"), torch.float64))
    tasks = stream.draw(0, 20)
    assert tasks.query_x.shape == (20, 12, 1, 4, 4)
    colour = (tasks.query_x[:, :, 0, 0, 0] * 255).round().long()
    labels = torch.tensor([int(name) for name in data.splits["test"].class_names])
    assert torch.equal(colour // PER_CLASS, labels[tasks.classes].repeat_interleave(4, 1))
    assert set((colour // PER_CLASS).unique().tolist()) == {8, 9, 10, 11}


@pytest.mark.parametrize("kind", ["filter", "fused", "composed", "copied"])
def test_class_filters_in_the_task_transforms_apply(load, l2l, kind):
    dataset, transforms = l2l.data.MetaDataset(Pictures()), l2l.data.transforms

    def make(labels):
        keep = transforms.FilterLabels(dataset, labels)
        if kind == "fused":
            return l2l.data.Taskset(dataset, [transforms.FusedNWaysKShots(dataset, 2, 2, filter_labels=labels)])
        if kind == "composed":
            return l2l.data.Taskset(dataset, import_torchvision().transforms.Compose([keep, transforms.NWays(dataset)]))
        if kind == "copied":
            keep = copy.copy(keep)  # by pickle, which makes it a CythonFilterLabels
        return taskset(l2l, dataset, keep)

    data = load((make([0, 1]), make([2, 3]), make([5])))
    assert [data.splits[split].class_names for split in SPLITS] == [("0", "1"), ("2", "3"), ("5",)]


def test_a_union_of_datasets_is_read(load, l2l):
    union = l2l.data.UnionMetaDataset([l2l.data.MetaDataset(Pictures()), l2l.data.MetaDataset(Pictures(first=100))])
    data = load(tuple(filtered(l2l, union, [label, label + CLASSES]) for label in range(3)))
    assert colours(data, "test") == {"2": of_class(2), "14": [100 + colour for colour in of_class(2)]}


@pytest.mark.parametrize("attributes", [True, False])
def test_tasksets_are_returned_by_name_or_in_order(load, l2l, attributes):
    train, validation, test = three(l2l, Pictures())
    named = SimpleNamespace(test=test, validation=validation, train=train)
    data = load(named if attributes else [train, validation, test])
    assert data.splits["val"].class_names == ("4", "5", "6", "7")


@pytest.mark.parametrize("transform", [lambda x: x / 255, lambda x: 1 - x.double() / 255, lambda x: x.numpy()])
def test_multiples_of_1_255_are_stored_as_bytes(load, l2l, transform):
    data = load(three(l2l, Pictures(transform)))
    examples = data.splits["train"]
    assert examples.inputs["x"] == InputSpec(examples.shape, "uint8", "bytes")
    expected = torch.as_tensor(transform(Pictures().pictures[7])).double()
    expected = expected if expected.max() <= 1 else expected / 255
    assert np.array_equal(examples.of_class("1")[1], (expected * 255).round().numpy())


def test_other_floats_are_unchanged(load, l2l):
    data = load(three(l2l, Pictures(lambda x: (x / 255 - 0.3) / 0.2)))
    assert data.splits["val"].values.dtype == np.float32
    stream = ClassTaskStream(data, StreamSpec("val", TaskShape(2, 1, 1), 0, torch.device("cpu"), torch.float32))
    seen = stream.draw(0, 50).support_x.flatten().unique()
    expected = (torch.arange(4 * PER_CLASS, 8 * PER_CLASS) / 255 - 0.3) / 0.2
    assert torch.equal(seen, expected)


def test_if_one_split_needs_floats_all_are_floats(load, l2l):
    train, val, _ = three(l2l, Pictures())
    *_, test = three(l2l, Pictures(lambda x: x / 200))
    data = load((train, val, test))
    assert {data.splits[split].values.dtype for split in SPLITS} == {np.dtype(np.float32)}
    assert colours(data, "train")["train/1"] == pytest.approx([colour / 255 for colour in of_class(1)])
    assert colours(data, "test")["test/9"] == pytest.approx([colour / 200 for colour in of_class(9)])


def test_one_label_in_two_splits_of_one_dataset_is_refused(load, l2l):
    dataset = l2l.data.MetaDataset(Pictures())
    overlapping = tuple(filtered(l2l, dataset, labels) for labels in ([0, 1], [2, 3], [4, 1]))
    with pytest.raises(UserError, match=r"class '1' is in both 'train' and 'test' of l2l_taskset \(1 shared"):
        load(overlapping)


def test_one_label_in_two_subsets_of_one_dataset_is_refused(load, l2l):
    pictures = Pictures()
    halves = [Subset(pictures, range(start, len(pictures), 3)) for start in range(3)]
    with pytest.raises(UserError, match=r"class '0' is in both 'train' and 'val' of l2l_taskset \(12 shared"):
        load(tuple(taskset(l2l, l2l.data.MetaDataset(half)) for half in halves))


def test_equal_labels_of_three_datasets_are_different_classes(load, l2l):
    datasets = [l2l.data.MetaDataset(Pictures(first=first, classes=2)) for first in (0, 50, 100)]
    data = load(tuple(taskset(l2l, dataset) for dataset in datasets))
    names = [name for split in SPLITS for name in data.splits[split].class_names]
    assert names == ["train/0", "train/1", "val/0", "val/1", "test/0", "test/1"]


def test_the_same_examples_under_another_name_are_refused(load, l2l):
    datasets = [l2l.data.MetaDataset(Pictures(first=first, classes=2)) for first in (0, 50, 6)]
    message = "class 'test/0' in 'test' of l2l_taskset has the same examples as 'train/1' in 'train'; put each class"
    with pytest.raises(UserError, match=message):
        load(tuple(taskset(l2l, dataset) for dataset in datasets))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda x: x + torch.rand(1), r"class '0' in split 'train' of l2l_taskset has an example that changes each"),
        (lambda x: x.long(), r"has examples of type int64; use uint8 \(0 to 255\) or floats"),
        (lambda x: x / 0, r"has an example with a number that is not finite"),
        (
            lambda x: "picture",
            r"has an example of type str; add a transform to its dataset that makes a tensor, such as",
        ),
        (lambda x: x[:, : 3 + x[0, 0, 0].item() % 2], r"has examples of different shapes or types; make"),
    ],
)
def test_examples_that_cannot_be_used_are_refused(load, l2l, transform, message):
    with pytest.raises(UserError, match=message):
        load(three(l2l, Pictures(transform)))


def test_the_class_whose_example_cannot_be_read_is_named(load, l2l):
    pictures = Pictures()
    tasksets = three(l2l, pictures)
    pictures.transform = lambda x: x[:, 9]  # now: learn2learn reads every example when it makes a MetaDataset
    told = r"^class '0' in split 'train' of l2l_taskset has an example that cannot be read \(IndexError: index 9 is"
    with pytest.raises(UserError, match=told):
        load(tasksets)


def test_filters_that_leave_no_class_are_refused(load, l2l):
    train, val, _ = three(l2l, Pictures())
    empty = taskset(l2l, val.dataset, l2l.data.transforms.FilterLabels(val.dataset, [99]))
    with pytest.raises(UserError, match=r"split 'test' of l2l_taskset has no classes after its filters"):
        load((train, val, empty))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (7, r"data\.tasksets=users_tasks:make returned a int; return three Tasksets, \(train, validation, test\)"),
        ((1, 2, 3), r"split 'train' of l2l_taskset is a int, not a learn2learn Taskset"),
    ],
)
def test_what_is_not_tasksets_is_refused(load, returned, message):
    with pytest.raises(UserError, match=message):
        load(returned)


@pytest.mark.parametrize(
    ("tasksets", "message"),
    [
        (None, r"data=l2l_taskset needs Tasksets of yours; set `data\.tasksets=package\.module:function`"),
        ("users_tasks", r"data\.tasksets=users_tasks must have the form package\.module:function"),
        ("no_such_tasks:make", r"data\.tasksets=no_such_tasks:make cannot be imported \(No module named"),
        ("users_tasks:mak", r"mak does not exist in users_tasks\. Did you mean 'make'\?"),
        ("users_tasks:make", r"data\.tasksets=users_tasks:make failed \(OSError: no data\); set HYDRA_FULL_ERROR=1"),
        (
            "broken_tasks:make",
            r"nms does not exist\); import learn2learn by `metarun\.algorithms\.learn2learn\.importing\.import_",
        ),
    ],
)
def test_a_function_that_cannot_be_called_is_one_sentence(monkeypatch, tmp_path, tasksets, message):
    def make():
        raise OSError("no data")

    module = ModuleType("users_tasks")
    module.make = make
    monkeypatch.setitem(sys.modules, "users_tasks", module)
    (tmp_path / "broken_tasks.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=message):
        Tasksets(tasksets).load()


def test_classes_shuffled_by_the_function_are_the_same_in_every_command(monkeypatch, l2l):
    def make():
        labels = list(range(CLASSES))
        random.shuffle(labels)
        dataset = l2l.data.MetaDataset(Pictures())
        return tuple(filtered(l2l, dataset, labels[first : first + 4]) for first in (0, 4, 8))

    module = ModuleType("users_tasks")
    module.make = make
    monkeypatch.setitem(sys.modules, "users_tasks", module)
    before = random.getstate()
    hashes = {Tasksets("users_tasks:make").load().hash for _ in range(3)}
    assert len(hashes) == 1
    assert random.getstate() == before


def test_task_transforms_that_change_examples_are_named(load, l2l, caplog):
    train, val, test = three(l2l, Pictures())
    turned = taskset(l2l, test.dataset, l2l.vision.transforms.RandomClassRotation(test.dataset, [0, 90]))
    with caplog.at_level(logging.WARNING):
        load((train, val, turned))
    assert caplog.messages == [
        "split 'test' of l2l_taskset has the task transform RandomClassRotation, which metarun does not apply."
    ]


# What a user has in a folder of their own: random pictures of 28 x 28, six classes a split, twenty examples each.
USERS = """\
import learn2learn as l2l
import torch


def tasksets():
    torch.manual_seed(0)
    pictures = (torch.rand(18, 1, 1, 28, 28) + torch.rand(18, 20, 1, 28, 28)).flatten(0, 1) / 2
    dataset = l2l.data.MetaDataset(torch.utils.data.TensorDataset(pictures, torch.arange(18).repeat_interleave(20)))

    def of(first):
        part = l2l.data.FilteredMetaDataset(dataset, list(range(first, first + 6)))
        transforms = [l2l.data.transforms.NWays(part, 3), l2l.data.transforms.LoadData(part)]
        return l2l.data.Taskset(part, transforms, num_tasks=10)

    return l2l.vision.benchmarks.BenchmarkTasksets(of(0), of(6), of(12))
"""


@pytest.fixture
def users_folder(monkeypatch, tmp_path) -> str:
    """A folder with a module of tasksets, under a name that no other test has imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"tasks_of_{tmp_path.parent.name.replace('-', '_')}_{tmp_path.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(USERS)
    return name


@pytest.mark.slow
def test_a_whole_run_from_the_users_folder(capsys, users_folder):
    small = ["train.iterations=3", "train.validate_every=3", "train.validate_tasks=6", "test.tasks=8"]
    words = ["algo=l2l_anil", "data=l2l_taskset", f"data.tasksets={users_folder}:tasksets", "backbone.filters=8"]
    assert run_here("train", *words, *small, "task.query=5") == 0, capsys.readouterr().err
    (path,) = Path("results/runs").glob("l2l_anil-l2l_taskset-5w1s-*")
    row = json.loads((path / "result.json").read_text())
    assert (row["status"], row["test_way"], row["example_shape"]) == ("done", 5, [1, 28, 28])
    assert row["floor_accuracy"] > 0.9, "pictures of a class resemble each other"
    words = [f"run={row['id']}", f"trust=[{users_folder}:tasksets]", "algo=anil", "test.seed=1"]
    assert run_here("test", *words) == 0, capsys.readouterr().err


def test_data_check_and_get_read_it(capsys, users_folder):
    for action in ("check", "get"):
        assert run_here("data", action, "l2l_taskset", f"tasksets={users_folder}:tasksets") == 0
    checked, got = capsys.readouterr().out.splitlines()
    assert checked == (
        "train 6 classes of 20 examples, val 6 of 20, test 6 of 20; float32 (1, 28, 28); no class is in two splits"
    )
    assert got.startswith("l2l_taskset: train 6 classes of 20 examples, val 6 of 20")
    assert build_source("l2l_taskset").where().startswith("yours: data.tasksets=")


def test_a_changed_module_of_the_user_is_another_run(users_folder):
    config = {
        "data": {"_target_": "metarun.data.Tasksets", "tasksets": f"{users_folder}:tasksets"},
        "algo": {},
        "train": {},
    }
    sys.path.append(".")
    before = run_id(config)
    assert run_id(config) == before
    Path(f"{users_folder}.py").write_text(USERS + "\n")
    assert run_id(config) != before
