"""Properties of every method that adapts by gradient steps."""

import copy

import pytest
import torch

from metarun.algorithms import ANIL, CAVIA, IMAML, MAML, Algorithm, MAMLPlusPlus, MetaSGD, Reptile
from metarun.backbones import MLP, NORMS
from metarun.data import Sinusoid
from metarun.evaluation.evaluate import evaluate
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.source import task_source
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.gradients import assert_equal_to, make_tasks, meta_gradient, perturbed
from tests.support.synthetic import make_conv4, make_stream, run_by

METHODS = {
    "maml": lambda backbone, outputs: MAML(backbone, outputs, rate(outputs), 2),
    "fomaml": lambda backbone, outputs: MAML(backbone, outputs, rate(outputs), 2, order=1),
    "anil": lambda backbone, outputs: ANIL(backbone, outputs, rate(outputs), 2),
    "first-order anil": lambda backbone, outputs: ANIL(backbone, outputs, rate(outputs), 2, 1),
    "cavia": lambda backbone, outputs: CAVIA(backbone, outputs, 5 * rate(outputs), 2, 7),
    "imaml": lambda backbone, outputs: IMAML(backbone, outputs, rate(outputs), 3, 2.0, 3, 1.0),
    "mamlpp": lambda backbone, outputs: MAMLPlusPlus(backbone, outputs, rate(outputs), 2),
    "metasgd": lambda backbone, outputs: MetaSGD(backbone, outputs, inner_steps=2),
    "reptile": lambda backbone, outputs: Reptile(backbone, outputs, 0.01, 3, 5, 5),
    "reptile by sgd": lambda backbone, outputs: Reptile(backbone, outputs, rate(outputs), 3, 5, 5, "sgd"),
}
OUTER = {
    "imaml": {"outer_lr": 0.002},
    "reptile": {"outer_optimizer": "sgd", "outer_lr": 0.5},
    "reptile by sgd": {"outer_optimizer": "sgd", "outer_lr": 0.5},
}


def rate(outputs) -> float:
    return 0.1 if outputs > 1 else 0.02


def make(name, norm="batch", how="auto", way=5) -> Algorithm:
    torch.manual_seed(0)
    return perturbed(run_by(how, METHODS[name](make_conv4(norm), way)))


@pytest.mark.cross
@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "running"])
@pytest.mark.parametrize("name", METHODS)
def test_looped_and_vectorised_agree(name, norm):
    looped, vectorised, tasks = make(name, norm, "loop"), make(name, norm, "vectorised"), make_tasks()
    if name != "reptile":  # its Adam goes from task to task, which needs a loop
        torch.testing.assert_close(vectorised.meta_loss(tasks), looped.meta_loss(tasks), rtol=1e-10, atol=0)
        assert_equal_to(meta_gradient(vectorised, tasks), meta_gradient(looped, tasks), 1e-10)
    looped.eval(), vectorised.eval()
    torch.testing.assert_close(vectorised.predict(tasks, 3), looped.predict(tasks, 3), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_predictions_cover_each_step(name):
    method, tasks = make(name).eval(), make_tasks()
    predictions = method.predict(tasks, 3)
    assert predictions.shape == (4, 2, 10, 5)
    assert not predictions.requires_grad
    assert not torch.equal(predictions[0], predictions[1]), "no_grad must not stop the adaptation"
    torch.testing.assert_close(method.predict(tasks, 0), predictions[:1])


@pytest.mark.parametrize("name", METHODS)
def test_predictions_do_not_depend_on_other_tasks(name):
    method, tasks = make(name).eval(), make_tasks(4)
    alone = TaskBatch(*(t[2:3] for t in (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)), tasks.way)
    torch.testing.assert_close(method.predict(tasks, 2)[:, 2:3], method.predict(alone, 2), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_permuting_labels_and_head_rows_permutes_predictions(name):
    method, tasks = make(name).eval(), make_tasks()
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = copy.copy(tasks)
    object.__setattr__(permuted, "support_y", permutation[tasks.support_y])
    renamed = copy.deepcopy(method)
    for parameter in renamed.parameters():
        if parameter.ndim and len(parameter) == 5:  # of the head, or of its rates
            parameter.data[permutation] = parameter.data.clone()
    torch.testing.assert_close(renamed.predict(permuted, 3)[..., permutation], method.predict(tasks, 3))


@pytest.mark.parametrize("name", METHODS)
def test_only_meta_training_updates_running_statistics(name):
    method, tasks = make(name, "running"), make_tasks()
    before = copy.deepcopy(dict(method.named_buffers()))
    method.eval().predict(tasks, 2)
    assert all(torch.equal(before[name], buffer) for name, buffer in method.named_buffers())
    method.train().meta_loss(tasks).backward()
    assert not torch.equal(before["backbone.layers.0.1.running_mean"], method.backbone.layers[0][1].running_mean)


def assert_learns(method: Algorithm, stream_of, **schedule) -> None:
    """Assert that meta-training lowers the meta-val loss after adaptation."""
    values = {
        **{"iterations": 40, "time_budget": None, "meta_batch": 4, "outer_lr": 0.01, "lr_decay": 1.0},
        **{"lr_decay_every": 100, "clip_grad": None, "validate_every": 20, "validate_tasks": 4, "validate_steps": 2},
    }
    training = Training(method, Schedule(**{**values, **schedule}), stream_of("train"), stream_of("val"))
    before = evaluate(method, stream_of("val"), 50, 2).loss[-1].mean()
    training.run(lambda: None, [], lambda: None)
    assert evaluate(method, stream_of("val"), 50, 2).loss[-1].mean() < before


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_meta_training_lowers_the_classification_loss(name):
    torch.manual_seed(0)
    assert_learns(METHODS[name](make_conv4(), 5), lambda split: make_stream(split=split), **OUTER.get(name, {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_meta_training_lowers_the_regression_loss(name):
    def stream_of(split):
        return task_source(Sinusoid()).stream(split, TaskShape(1, 10, 10), 0, torch.device("cpu"), torch.float32)

    torch.manual_seed(0)
    assert_learns(METHODS[name](MLP((1,), [40, 40]), 1), stream_of, **OUTER.get(name, {}))
