"""What holds for every method in conf/algo with every normalisation; the folder is listed, so none is missed."""

import copy
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from metarun.config import config_dir, register, resolve
from metarun.data import Glyphs
from metarun.meta_test import is_transductive
from metarun.meta_train import Training
from metarun.parts import Parts
from metarun.tasks import TaskBatch, TaskShape

pytestmark = pytest.mark.slow
ALGOS = sorted(path.stem for path in (Path(config_dir()) / "algo").glob("*.yaml"))
NORMS = ("batch", "running", "layer", "instance", "group", "none")
EVERY = pytest.mark.parametrize(("algo", "norm"), [(algo, norm) for algo in ALGOS for norm in NORMS])
STEPS = 2


@pytest.fixture(scope="module")
def glyphs():
    return Glyphs().load()


@pytest.fixture
def make(glyphs):
    """Build the parts of a small run in float64, as `metarun train` would, with the data set at hand."""
    register()

    def build(algo: str, norm: str, *overrides: str) -> Parts:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            names = [f"chosen.algo={algo}", "chosen.data=glyphs", "chosen.backbone=conv4"]
            small = ["backbone.filters=8", "train.way=5", "train.query=2", "train.meta_batch=2", "test.query=3"]
            limits = ["train.iterations=3", "train.validate_every=3", "train.validate_tasks=2", f"test.steps={STEPS}"]
            chosen = [f"algo={algo}", f"backbone.norm={norm}", "precision=float64", "device=cpu"]
            config = compose("config", [*names, *small, *limits, *chosen, *overrides])
        parts = Parts(resolve(config))
        parts.data = glyphs
        return parts

    return build


def drawn(parts: Parts, count: int = 3) -> TaskBatch:
    return parts.stream("test", parts.test_shape, 0).draw(0, count)


def part_of(tasks: TaskBatch, which: slice, queries: slice = slice(None)) -> TaskBatch:
    part = copy.copy(tasks)
    for name, value in vars(tasks).items():
        if isinstance(value, Tensor):
            chosen = value[which]
            object.__setattr__(part, name, chosen[:, queries] if name.startswith("query") else chosen)
    return part


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


@EVERY
def test_a_tasks_prediction_does_not_depend_on_its_neighbours(make, algo, norm):
    parts = make(algo, norm)
    algorithm, tasks = parts.algorithm.eval(), drawn(parts)
    together = algorithm.predict(tasks, STEPS)
    assert not together.requires_grad
    assert together.shape[1:] == (3, 15, 5)
    assert_close(together[:, 1:2], algorithm.predict(part_of(tasks, slice(1, 2)), STEPS))


@EVERY
def test_looped_and_vectorised_predict_alike(make, algo, norm):
    predictions = []
    for how in ("loop", "vectorised"):
        parts = make(algo, norm, f"train.over_tasks={how}")
        predictions.append(parts.algorithm.eval().predict(drawn(parts), STEPS))
    assert_close(*predictions)


@EVERY
def test_transductive_is_what_predicting_every_query_alone_says(make, algo, norm):
    parts = make(algo, norm)
    algorithm, tasks = parts.algorithm.eval(), drawn(parts, 1)
    together = algorithm.predict(tasks, STEPS)
    alone = [algorithm.predict(part_of(tasks, slice(None), slice(j, j + 1)), STEPS) for j in range(15)]
    differs = not torch.allclose(torch.cat(alone, 2), together, rtol=1e-6, atol=1e-8)
    assert is_transductive(algorithm, parts.stream("test", parts.test_shape, 0), STEPS) == differs
    has_network = parts.config["algo"].get("inputs") != "raw"
    assert differs == (norm == "batch" and has_network), "batch statistics, and they alone, let queries see each other"


@EVERY
def test_it_trains_three_steps_on_glyphs(make, algo, norm):
    parts = make(algo, norm)
    train = parts.config["train"]
    stream = parts.stream("train", TaskShape(train["way"], train["shot"], train["query"]), 0)
    training = Training(parts.algorithm, parts.schedule, stream, parts.stream("val", parts.test_shape, 0))
    before = copy.deepcopy(dict(parts.algorithm.named_parameters()))
    training.run(lambda: None, lambda: None, Quiet(), lambda: None)
    assert training.progress.iteration == (3 if parts.algorithm.learns else 0)
    assert 0 <= training.progress.best_value <= 1
    changed = [not torch.equal(before[name], weight) for name, weight in parts.algorithm.named_parameters()]
    assert any(changed) == parts.algorithm.learns


class Quiet:
    def trained(self, iteration, fraction, loss, seconds):
        pass

    def validated(self, iteration, value, best):
        pass
