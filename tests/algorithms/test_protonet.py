import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import ProtoNet
from metarun.algorithms.protonet import prototypes, squared_distances
from metarun.data import Sinusoid
from metarun.errors import UserError
from metarun.evaluation.floor import floor
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.source import task_source
from tests.support.reference import import_easyfsl
from tests.support.synthetic import make_conv4, make_stream, run_by


def make_protonet(norm="running", how="auto", **options) -> ProtoNet:
    torch.manual_seed(0)
    return run_by(how, ProtoNet(make_conv4(norm), **options)).double()


def make_tasks(count=3) -> TaskBatch:
    return make_stream(5, 2, query=3, dtype=torch.float64).draw(0, count)


def test_a_prototype_is_the_mean_of_its_class():
    features = torch.tensor([[0.0, 0.0], [2.0, 4.0], [1.0, 1.0]])
    assert prototypes(features, torch.tensor([1, 1, 0]), 2).tolist() == [[1.0, 1.0], [1.0, 2.0]]


def test_distances_are_squared_euclidean():
    distances = squared_distances(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    assert distances.tolist() == [[25.0], [16.0]]


@pytest.mark.parametrize("numbers", [1_999, 2_000])
def test_distances_of_long_rows_are_those_of_short_ones_to_rounding(numbers):
    random = torch.Generator().manual_seed(0)
    points, centres = (torch.rand(count, numbers, generator=random) for count in (30, 5))
    points[0] = centres[1]
    expected = torch.cdist(points.double(), centres.double()).square()
    torch.testing.assert_close(squared_distances(points, centres).double(), expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(squared_distances(points.double(), centres.double()), expected, rtol=1e-9, atol=1e-9)
    assert (squared_distances(points, centres) >= 0).all()


def test_logits_follow_the_paper():
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


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "group", "none"])
def test_looped_and_vectorised_agree(norm, distance):
    tasks, gradients = make_tasks(), []
    for how in ("loop", "vectorised"):
        protonet = make_protonet(norm, how, distance=distance, learn_scale=True)
        loss = protonet.meta_loss(tasks)
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(protonet.parameters()))]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 4)])
def test_squared_distances_equal_easyfsls_squared(way, shot):
    # easyfsl's scores are distances, the paper's (equation 2) squared distances.
    ours = make_protonet("layer")
    theirs = import_easyfsl().methods.PrototypicalNetworks(ours.backbone)
    tasks = make_stream(way, shot, query=3, dtype=torch.float64).draw(0, 1)
    theirs.process_support_set(tasks.support_x[0], tasks.support_y[0])
    torch.testing.assert_close(ours.predict(tasks, 0)[0, 0], -theirs(tasks.query_x[0]).square(), rtol=1e-9, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("learn_scale", [True, False])
@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 4)])
def test_cosines_equal_easyfsl(way, shot, learn_scale):
    # In easyfsl, cosines to prototypes are SimpleShot without centring.
    ours = make_protonet("layer", distance="cosine", scale=7.0, learn_scale=learn_scale)
    theirs = import_easyfsl().methods.SimpleShot(ours.backbone)
    tasks = make_stream(way, shot, query=3, dtype=torch.float64).draw(0, 1)
    theirs.process_support_set(tasks.support_x[0], tasks.support_y[0])
    torch.testing.assert_close(ours.predict(tasks, 0)[0, 0], 7 * theirs(tasks.query_x[0]), rtol=1e-9, atol=0)


def test_only_a_scale_of_cosines_can_be_learned():
    assert "scale" in dict(make_protonet(distance="cosine", learn_scale=True).named_parameters())
    assert "scale" not in dict(make_protonet(distance="cosine").named_parameters())
    assert "scale" not in dict(make_protonet(learn_scale=True).named_parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "manhattan"}, r"algo\.distance='manhattan' is not one of squared_euclidean, cosine"),
        ({"distance": "cosine", "scale": 0.0}, r"algo\.scale=0\.0 but it must be above 0"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_protonet(**options)


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
def test_permuting_labels_permutes_predictions(distance):
    protonet, tasks = make_protonet(distance=distance).eval(), make_tasks()
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = copy.copy(tasks)
    object.__setattr__(permuted, "support_y", permutation[tasks.support_y])
    torch.testing.assert_close(protonet.predict(permuted, 0)[..., permutation], protonet.predict(tasks, 0))


def test_the_floor_equals_protonet_on_raw_inputs():
    class Raw(nn.Flatten):
        features = 256

    tasks = make_tasks()
    torch.testing.assert_close(floor(tasks), ProtoNet(Raw()).eval().predict(tasks, 0))


def test_the_floor_of_regression_is_the_mean_support_target():
    shape = TaskShape(1, 4, 3)
    tasks = task_source(Sinusoid()).stream("test", shape, 0, torch.device("cpu"), torch.float64).draw(0, 2)
    assert floor(tasks).shape == (1, 2, 3, 1)
    torch.testing.assert_close(floor(tasks)[0, 1, :, 0], tasks.support_y[1].mean().expand(3))
