"""Nothing in a meta-training step waits for a GPU: it is given its work ahead of time.

`waits` finds what would, without a GPU; where there is one, CUDA says so itself. All methods are in
tests/algorithms/test_every_method.py.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from metarun.algorithms import MAML, ProtoNet
from metarun.data import GaussianProcess, MixedDatasets, Sinusoid
from metarun.data.files.cache import apply_storage
from metarun.system.inputs import to_device
from metarun.tasks.augmentation import AugmentedStream, augmentations
from metarun.tasks.batch import TaskShape
from metarun.tasks.source import task_source
from metarun.tasks.varying_stream import batches_of
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.markers import few_of
from tests.support.synthetic import make_conv4, make_dataset, make_stream, run_by
from tests.support.waiting import META, pretend_to_pin, waits
from tests.tasks.test_across_groups import words
from tests.tasks.test_entity_stream import make_data
from tests.training.test_loop import SCHEDULE

GPUS = [torch.device("cuda")] if torch.cuda.is_available() else []
PICTURES = make_dataset(sizes=(6,) * 6, shape=(3, 8, 8))


def make_training(method, device) -> Training:
    made = MAML(make_conv4(), 5, 0.1, 1) if method == "maml" else ProtoNet(make_conv4("running"))
    streams = (make_stream(split=split, device=device) for split in ("train", "val"))
    return Training(made.to(device), Schedule(**{**SCHEDULE, "clip_grad": 1.0}), *streams)


@contextmanager
def nothing_waits(device):
    if device == META:
        with waits() as found:
            yield
        assert found == []
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", [META, *GPUS], ids=str)
@pytest.mark.parametrize(
    ("method", "how"),
    [("maml", "vectorised"), ("protonet", "loop"), pytest.param("maml", "loop", marks=pytest.mark.slow)],
)
def test_a_step_does_not_wait(method, how, device):
    training = make_training(method, device)
    run_by(how, training.algorithm)
    training._step()  # makes the optimiser's state; on a GPU also loads libraries and reserves memory
    with nothing_waits(device):
        training._step()
    assert training.progress.iteration == 2


SHAPE = TaskShape(3, 1, 2)
STREAMS = {
    "in memory": (lambda: PICTURES, SHAPE),
    "on disk": (lambda: apply_storage(PICTURES, "disk"), SHAPE),
    "of several sizes": (lambda: PICTURES, TaskShape(4, 2, 2, smallest=(3, 1))),
    "across groups": (words, TaskShape(2, 1, 2, across="speaker")),
    "of several data sets": (lambda: MixedDatasets({"a": PICTURES, "b": PICTURES}, {"a": 1, "b": 1}), SHAPE),
    "of entities": (make_data, TaskShape(1, 3, 4)),
    "of entities in order": (lambda: make_data(in_order=True), TaskShape(1, 3, 4)),
    "of functions": (Sinusoid, TaskShape(1, 5, 5)),
    "of random functions": (GaussianProcess, TaskShape(1, 5, 5)),
}


@pytest.mark.parametrize("kind", few_of(STREAMS, "in memory", "on disk", "of entities", "of functions"))
def test_drawing_tasks_does_not_wait(kind, monkeypatch, tmp_path):
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))
    monkeypatch.setattr("metarun.tasks.function_stream.check_functions", lambda *_: None)  # looks at values once
    pretend_to_pin(monkeypatch)
    load, shape = STREAMS[kind]
    stream = task_source(load()).stream("train", shape, 0, META, torch.float32)
    with waits() as found:
        drawn = [tasks for first in (0, 6) for tasks in batches_of(stream, first, 6)]
    assert found == []
    assert sum(map(len, drawn)) == 12
    assert all(tasks.device == META for tasks in drawn)


@pytest.mark.slow
def test_augmentation_does_not_wait(monkeypatch):
    pretend_to_pin(monkeypatch)
    source = task_source(PICTURES)
    everything = {
        "crop": 2, "resized_crop": [0.5, 1.0], "affine": [20, 0.2], "flip": 0.5, "jitter": 0.4, "dropout": 0.1
    }  # fmt: skip
    changes = augmentations(everything, source.inputs, source.name)
    stream = AugmentedStream(source.stream("train", SHAPE, 0, META, torch.float32), changes, 0)
    with waits() as found:
        [tasks] = stream.batches(0, 4)
    assert found == []
    assert tasks.device == META


WAITING = {
    "a list as an index": lambda x: x[[0, 1]],
    "an index on the host": lambda x: x[torch.tensor([0, 1])],
    "numbers of Python": lambda x: x + x.new_tensor([1.0, 2.0, 3.0]),
    "numbers of numpy": lambda x: torch.from_numpy(np.ones(3)).to(x.device),
    "part of a tensor set from the host": lambda x: x.__setitem__(0, torch.ones(3)),
    "a mask that says what is set": lambda x: x.__setitem__(x > 0, torch.ones(2, device=x.device)),
    "a solver's error code": lambda x: torch.linalg.solve(x, x),
    "singular values": torch.linalg.svd,
}
NO_ITEM = r"^Tensor\.item\(\) cannot be called on meta tensors$"
RAISING = {
    "a number": (lambda x: float(x[0, 0]), NO_ITEM),
    "a condition": (lambda x: x if x.any() else -x, NO_ITEM),
    "a mask as an index": (lambda x: x[x > 0], r"^The register_meta function for torch\.nonzero\(\) raises"),
    "places": (lambda x: x.nonzero(), r"^The register_meta function for torch\.nonzero\(\) raises"),
    "different values": (lambda x: x.unique(), "^aten::_unique2: attempted to run this operator with Meta tensors"),
    "lengths": (
        lambda x: x.repeat_interleave(x[0].long(), 0),
        "^cannot repeat_interleave a meta tensor without output_size",
    ),
    "a comparison": (lambda x: torch.equal(x, x), "^aten::equal: attempted to run this operator with Meta tensors"),
}


@pytest.mark.parametrize("what", [*WAITING, *RAISING])
def test_what_waits_is_found(what):
    x = torch.zeros(3, 3, device=META)
    with waits() as found:
        if what in RAISING:
            call, message = RAISING[what]
            with pytest.raises(RuntimeError, match=message):  # also NotImplementedError, which is one
                call(x)
        else:
            torch.func.vmap(lambda one: one + 1)(x)
            assert found == [], "vmap and numbers of Python do not wait"
            WAITING[what](x)
            assert len(found) == 1


def test_a_gpu_copies_from_pinned_memory_without_waiting(monkeypatch):
    with waits() as found:
        to_device(torch.ones(2), META)
    assert len(found) == 1, "as of any other device"
    pretend_to_pin(monkeypatch)
    with waits() as found:
        to_device(torch.ones(2), META)
    assert found == []
