import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.data import SPLITS, ClassDataset, Examples, Sinusoid
from metarun.data.files.cache import apply_storage
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape, chunks
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.function_stream import FunctionTaskStream
from metarun.tasks.source import task_source
from metarun.tasks.stream import StreamSpec
from tests.support.synthetic import make_dataset, make_stream

CPU = torch.device("cpu")


@st.composite
def streams(draw):
    sizes = tuple(draw(st.lists(st.integers(2, 9), min_size=2, max_size=8)))
    way = draw(st.integers(2, len(sizes)))
    shot = draw(st.integers(1, min(sizes) - 1))
    query = draw(st.integers(1, min(sizes) - shot))
    data = make_dataset(sizes, shape=(1, 2, 2))
    return ClassTaskStream(
        data, StreamSpec("train", TaskShape(way, shot, query), draw(st.integers(0, 99)), CPU, torch.float32)
    )


@settings(max_examples=60, deadline=None)
@given(stream=streams(), first=st.integers(0, 10**9))
def test_support_and_query_never_share_an_example_or_mix_classes(stream, first):
    support, query = stream.rows(first, 4)
    rows = torch.cat([support, query], -1)  # (tasks, way, shot + query)
    for task in rows:
        assert task.unique().numel() == task.numel()
    classes = torch.bucketize(rows, stream._offsets[1:], right=True)
    assert (classes == classes[..., :1]).all(), "an example of another class"
    for task in classes[..., 0]:
        assert task.unique().numel() == stream.shape.way, "a class twice in a task"


@settings(max_examples=40, deadline=None)
@given(stream=streams(), first=st.integers(0, 1000), size=st.integers(1, 7))
def test_a_task_is_the_same_in_any_chunking(stream, first, size):
    whole = stream.rows(first, 9)
    parts = [stream.rows(first + at, length) for at, length in chunks(9, size)]
    for k in (0, 1):
        assert torch.equal(whole[k], torch.cat([part[k] for part in parts]))


def test_tasks_can_use_all_classes_and_all_examples():
    stream = make_stream(way=12, shot=5, query=15)
    support, query = stream.rows(0, 3)
    assert torch.cat([support, query], -1).flatten(1).sort(1).values.tolist() == [list(range(240))] * 3


def test_batches_contain_scaled_examples_and_sorted_labels():
    stream = make_stream(way=3, shot=2, query=4, dtype=torch.float64)
    batch = stream.draw(7, 2)
    assert batch.support_x.shape == (2, 6, 1, 16, 16)
    assert batch.query_x.shape == (2, 12, 1, 16, 16)
    assert batch.support_x.dtype == torch.float64
    assert batch.support_y.tolist() == [[0, 0, 1, 1, 2, 2]] * 2
    assert batch.query_y.tolist() == [[0] * 4 + [1] * 4 + [2] * 4] * 2
    support, _ = stream.rows(7, 2)
    expected = torch.from_numpy(make_dataset().splits["train"].values)[support.flatten(1)].double() / 255
    assert torch.equal(batch.support_x, expected)
    assert len(batch) == 2


def test_labels_are_permuted_between_tasks():
    stream = make_stream(way=2, shot=1, query=1, sizes=(4, 4))
    support, _ = stream.rows(0, 2000)
    first_class_has_label_0 = (support[:, 0, 0] < 4).double().mean().item()
    assert 0.45 < first_class_has_label_0 < 0.55


def test_classes_and_examples_are_drawn_uniformly():
    stream = make_stream(way=5, shot=1, query=3)
    support, query = stream.rows(0, 6000)
    counts = torch.cat([support, query], -1).flatten().bincount(minlength=240).double()
    assert (counts / counts.mean() - 1).abs().max() < 0.2  # 500 expected of each, 4.5 standard deviations


def test_seed_and_split_change_the_tasks():
    first = make_stream(seed=0).rows(0, 5)[0]
    assert torch.equal(first, make_stream(seed=0).rows(0, 5)[0])
    assert not torch.equal(first, make_stream(seed=1).rows(0, 5)[0])
    assert not torch.equal(first, make_stream(split="val").rows(0, 5)[0])


def test_the_hash_covers_everything_a_task_depends_on():
    base = make_stream()
    others = [
        make_stream(seed=1),
        make_stream(way=4),
        make_stream(shot=2),
        make_stream(query=2),
        make_stream(split="val"),
    ]
    changed_data = ClassTaskStream(make_dataset(seed=5), StreamSpec("train", base.shape, 0, CPU, torch.float32))
    hashes = {stream.hash(10) for stream in [base, *others, changed_data]} | {base.hash(11)}
    assert len(hashes) == 8
    assert base.hash(10) == make_stream(dtype=torch.float64).hash(10)


def test_a_known_task_never_changes():
    support, query = make_stream(way=3, shot=1, query=2).rows(0, 2)
    assert support.squeeze(-1).tolist() == KNOWN_SUPPORT
    assert query.tolist() == KNOWN_QUERY


KNOWN_SUPPORT = [[166, 70, 140], [148, 47, 113]]
KNOWN_QUERY = [[[162, 169], [69, 74], [141, 147]], [[141, 158], [58, 59], [114, 115]]]


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tasks_from_disk_equal_those_from_memory(tmp_path, monkeypatch, kind, dtype):
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))
    made = make_dataset()
    splits = {s: Examples((e.values / 3).astype(kind), e.offsets, e.class_names) for s, e in made.splits.items()}
    data = ClassDataset("synthetic", splits)
    shape = TaskShape(5, 1, 3)
    both = [
        ClassTaskStream(apply_storage(data, how), StreamSpec("train", shape, 0, CPU, dtype))
        for how in ("memory", "disk")
    ]
    assert len({stream.hash(20) for stream in both}) == 1
    for first, count in [(0, 4), (4, 4), (8, 4), (3, 2), (5, 2), (1000, 1), (0, 7)]:
        in_memory, on_disk = (stream.draw(first, count) for stream in both)
        for name in ("support_x", "support_y", "query_x", "query_y", "classes"):
            assert torch.equal(getattr(in_memory, name), getattr(on_disk, name)), name
    assert all(apply_storage(data, "disk").splits[split].on_disk for split in SPLITS)


def test_examples_that_would_fill_a_gpu_stay_in_memory_and_make_the_same_tasks(monkeypatch, caplog):
    on_device = make_stream()
    monkeypatch.setattr("metarun.tasks.class_stream.fits_on", lambda device, size: size < 100)
    with caplog.at_level(logging.INFO):
        on_host = make_stream()
    assert on_host.reads_ahead > on_device.reads_ahead
    assert on_host.hash(9) == on_device.hash(9)
    for name in ("support_x", "query_y"):
        assert torch.equal(getattr(on_host.draw(2, 3), name), getattr(on_device.draw(2, 3), name))
    assert caplog.messages == [
        "the 0.0 GB of meta-train stay in the computer's memory: device=cpu has no room for them"
    ]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((13, 1, 1), r"way=13 but split 'train' of synthetic has 12 classes; lower `way` \(13\) or use"),
        ((5, 10, 11), r"shot \+ query = 10 \+ 11 but class 'train 0' in split 'train' of synthetic has 20 examples"),
    ],
)
def test_shapes_too_large_for_the_split_are_refused(shape, message):
    with pytest.raises(UserError, match=message):
        ClassTaskStream(make_dataset(), StreamSpec("train", TaskShape(*shape), 0, CPU, torch.float32))


@pytest.mark.parametrize("shape", [(0, 1, 1), (5, 0, 1), (5, 1, -1)])
def test_a_task_needs_at_least_one_of_everything(shape):
    with pytest.raises(UserError, match=r"a task needs at least 1; raise `(way|shot|query)`"):
        TaskShape(*shape)


def test_points_of_a_sinusoid_task_are_on_one_sine():
    stream = task_source(Sinusoid()).stream("train", TaskShape(1, 10, 7), 3, CPU, torch.float64)
    batch = stream.draw(0, 50)
    assert batch.support_x.shape == (50, 10, 1)
    assert batch.query_y.shape == (50, 7, 1)
    x, y = torch.cat([batch.support_x, batch.query_x], 1), torch.cat([batch.support_y, batch.query_y], 1)
    assert x.abs().max() <= 5
    basis = torch.cat([x.sin(), x.cos()], -1)  # a sin(x - p) is a combination of these two, in every task
    residual = y - basis @ torch.linalg.lstsq(basis, y).solution
    assert residual.abs().max() < 1e-9
    amplitude = torch.linalg.lstsq(basis, y).solution.norm(dim=1)
    assert amplitude.min() >= 0.1
    assert amplitude.max() <= 5
    assert not torch.equal(batch.support_x[0], batch.support_x[1])


def test_sinusoid_tasks_are_the_same_in_any_chunking_and_precision():
    def draw(dtype, first, count):
        return FunctionTaskStream(Sinusoid(), StreamSpec("test", TaskShape(1, 3, 2), 0, CPU, dtype)).draw(first, count)

    whole = draw(torch.float64, 0, 6)
    assert torch.equal(whole.query_y[4:], draw(torch.float64, 4, 2).query_y)
    assert torch.equal(whole.query_y.float(), draw(torch.float32, 0, 6).query_y)


def test_a_function_has_one_output():
    with pytest.raises(UserError, match="way=5 but a task of sinusoid is one function with one output; set `way=1`"):
        task_source(Sinusoid()).stream("train", TaskShape(5, 1, 1), 0, CPU, torch.float32)
