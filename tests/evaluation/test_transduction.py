import math

import pytest
import torch

from metarun.algorithms import MAML, ProtoNet
from metarun.backbones import MLP, NORMS
from metarun.data import Sinusoid
from metarun.evaluation.transduction import Audit, audit, is_transductive
from metarun.system.progress import ignore_progress
from metarun.tasks.batch import TaskShape
from metarun.tasks.source import task_source
from tests.support.synthetic import make_conv4, make_stream


def make(method, norm="batch"):
    torch.manual_seed(0)
    backbone = make_conv4(norm)
    return MAML(backbone, 5, 0.1, 1) if method == "maml" else ProtoNet(backbone)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["maml", "protonet"])
def test_transductive_methods_are_recognised(method, norm):
    algorithm = make(method, norm)
    assert is_transductive(algorithm, make_stream(), 2) == (norm == "batch")
    assert next(algorithm.parameters()).dtype == torch.float32


@pytest.mark.cross
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["maml", "protonet"])
def test_the_audit_agrees_with_the_flag(method, norm):
    told = []
    found = audit(make(method, norm), make_stream(query=4), 2, range(3), lambda done, tasks: told.append((done, tasks)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert (found.tasks, found.queries) == (3, 60)
    assert found.changed == (60 if norm == "batch" else 0)
    if norm != "batch":
        assert (found.flipped, found.alone) == (0, found.together)


def test_the_audit_equals_predicting_query_by_query():
    maml, stream = make("maml").double().eval(), make_stream(dtype=torch.float64)
    together, alone, flipped = 0, 0, 0
    for i in range(2):
        task = stream.draw(i, 1)
        classes = maml.predict(task, 2)[-1, 0].argmax(-1)
        together += (classes == task.query_y[0]).sum().item()
        for j in range(15):
            one = stream.draw(i, 1)
            object.__setattr__(one, "query_x", task.query_x[:, j : j + 1])
            predicted = maml.predict(one, 2)[-1, 0, 0].argmax().item()
            alone += predicted == task.query_y[0, j].item()
            flipped += predicted != classes[j].item()
    assert audit(maml, stream, 2, range(2), ignore_progress) == Audit(2, 30, 30, together / 30, alone / 30, flipped)
    assert flipped > 0, "otherwise this tests nothing"


def test_the_audit_of_a_regression():
    torch.manual_seed(0)
    maml = MAML(MLP((1,), [40, 40], "batch"), 1, 0.01, 1)
    stream = task_source(Sinusoid()).stream("train", TaskShape(1, 10, 5), 0, torch.device("cpu"), torch.float32)
    found = audit(maml, stream, 2, range(3), ignore_progress)
    assert (found.queries, found.changed, found.flipped) == (15, 15, None)
    assert found.alone != found.together


def test_an_audit_only_counts_queries_with_finite_predictions():
    class HalfLost(ProtoNet):
        def predict(self, tasks, steps):
            predictions = super().predict(tasks, steps)
            return predictions.where(tasks.query_x.mean((-3, -2, -1))[..., None] > 0.5, math.nan)

    found = audit(HalfLost(make_conv4("running")), make_stream(query=4), 0, range(2), ignore_progress)
    assert (found.changed, found.flipped) == (0, 0)
    assert found.together == found.alone
