import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import ProtoNet, floor
from metarun.algorithms.protonet import prototypes, squared_distances
from metarun.data import Sinusoid
from metarun.tasks import TaskBatch, TaskShape, task_stream
from tests.synthetic import make_conv4, make_stream


def make_protonet(norm="running", how="auto") -> ProtoNet:
    torch.manual_seed(0)
    return ProtoNet(make_conv4(norm), how).double()


def make_tasks(count=3) -> TaskBatch:
    return make_stream(5, 2, query=3, dtype=torch.float64).draw(0, count)


def test_a_prototype_is_the_mean_of_its_class():
    features = torch.tensor([[0.0, 0.0], [2.0, 4.0], [1.0, 1.0]])
    assert prototypes(features, torch.tensor([1, 1, 0]), 2).tolist() == [[1.0, 1.0], [1.0, 2.0]]


def test_distances_are_squared_euclidean():
    distances = squared_distances(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    assert distances.tolist() == [[25.0], [16.0]]


def test_logits_follow_the_paper_written_out():
    protonet, tasks = make_protonet().eval(), make_tasks()
    for t in range(len(tasks)):
        support, query = protonet.backbone(tasks.support_x[t]), protonet.backbone(tasks.query_x[t])
        centres = torch.stack([support[tasks.support_y[t] == c].mean(0) for c in range(5)])
        expected = torch.stack([torch.stack([-((q - c) ** 2).sum() for c in centres]) for q in query])
        torch.testing.assert_close(protonet.predict(tasks, 7)[0, t], expected)


def test_the_loss_is_the_cross_entropy_of_the_logits():
    protonet, tasks = make_protonet("layer"), make_tasks()
    logits = protonet.predict(tasks, 0)[0]
    expected = F.cross_entropy(logits.flatten(0, 1), tasks.query_y.flatten())
    torch.testing.assert_close(protonet.meta_loss(tasks), expected)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "group", "none"])
def test_looped_and_vectorised_agree(norm):
    tasks, gradients = make_tasks(), []
    for how in ("loop", "vectorised"):
        protonet = make_protonet(norm, how)
        loss = protonet.meta_loss(tasks)
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(protonet.parameters()))]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-12)


def test_permuting_labels_permutes_predictions():
    protonet, tasks = make_protonet().eval(), make_tasks()
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = copy.copy(tasks)
    object.__setattr__(permuted, "support_y", permutation[tasks.support_y])
    torch.testing.assert_close(protonet.predict(permuted, 0)[..., permutation], protonet.predict(tasks, 0))


def test_the_floor_is_protonet_on_raw_inputs():
    class Raw(nn.Flatten):
        features = 256

    tasks = make_tasks()
    torch.testing.assert_close(floor(tasks), ProtoNet(Raw()).eval().predict(tasks, 0))


def test_the_floor_of_regression_is_the_mean_support_target():
    shape = TaskShape(1, 4, 3)
    tasks = task_stream(Sinusoid(), "test", shape, 0, torch.device("cpu"), torch.float64).draw(0, 2)
    assert floor(tasks).shape == (1, 2, 3, 1)
    torch.testing.assert_close(floor(tasks)[0, 1, :, 0], tasks.support_y[1].mean().expand(3))
