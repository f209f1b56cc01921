import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import RelationNet
from metarun.backbones import MLP
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.reference import import_easyfsl
from tests.support.synthetic import make_conv4, make_stream, run_by

DOWNSAMPLES = pytest.mark.parametrize("downsample", ["pool", "stride", "pool_twice"])


def make_relation(norm="layer", how="auto", downsample="pool_twice", **options) -> RelationNet:
    torch.manual_seed(0)
    return run_by(how, RelationNet(make_conv4(norm, downsample), norm=norm, **options)).double()


def make_tasks(count=3, way=5, shot=2) -> TaskBatch:
    return make_stream(way, shot, query=3, dtype=torch.float64).draw(0, count)


class Maps(nn.Module):
    """A backbone for easyfsl, whose output is the feature map."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return self.backbone.feature_map(x)


class SumsForMeans(nn.Module):
    """Our relation module for easyfsl, which passes the mean map of a class instead of the paper's sum."""

    def __init__(self, relation, channels, shot):
        super().__init__()
        self.relation, self.channels, self.shot = relation, channels, shot

    def forward(self, pairs):
        means, queries = pairs.split(self.channels, 1)
        return self.relation(torch.cat([self.shot * means, queries], 1)).sigmoid()


@pytest.mark.peers
@DOWNSAMPLES
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 4)])
def test_scores_equal_easyfsl(way, shot, norm, downsample):
    # easyfsl's own relation module pools to fixed sizes, unlike the paper's, so it gets ours.
    ours, tasks = make_relation(norm, downsample=downsample), make_tasks(2, way, shot)
    theirs = import_easyfsl().methods.RelationNetworks(
        Maps(ours.backbone), feature_dimension=8, relation_module=SumsForMeans(ours.relation, 8, shot)
    )
    for t in range(2):
        theirs.process_support_set(tasks.support_x[t], tasks.support_y[t])
        torch.testing.assert_close(
            ours.predict(tasks, 0)[0, t].exp(), theirs(tasks.query_x[t]).detach(), rtol=1e-9, atol=1e-12
        )


def test_the_relation_module_has_the_layers_of_the_released_code():
    # The released code's maps are 64 x 5 x 5; parameters: two convolutions, two norms, two linear layers.
    torch.manual_seed(0)
    backbone = make_conv4("batch", "pool_twice", filters=64, shape=(1, 20, 20))
    assert backbone.map_shape == (64, 5, 5)
    parameters = sum(parameter.numel() for parameter in RelationNet(backbone).relation.parameters())
    assert parameters == (128 * 64 * 9 + 64) + (64 * 64 * 9 + 64) + 2 * (64 + 64) + (64 * 8 + 8) + (8 + 1)


@DOWNSAMPLES
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 28, 28), (1, 20, 37)])
def test_feature_maps_have_the_declared_shape_and_give_the_features(shape, downsample):
    backbone, x = make_conv4("layer", downsample, shape=shape), torch.rand(2, *shape)
    maps = backbone.feature_map(x)
    assert maps.shape == (2, *backbone.map_shape)
    expected = maps.mean((2, 3)) if downsample == "stride" else maps.flatten(1)
    torch.testing.assert_close(backbone(x), expected)
    assert backbone(x).shape == (2, backbone.features)


def test_the_loss_is_the_squared_error_of_the_scores():
    relation, tasks = make_relation(), make_tasks()
    scores = relation.predict(tasks, 0)[0].exp()
    expected = (scores - F.one_hot(tasks.query_y, 5)).square().mean()
    torch.testing.assert_close(relation.meta_loss(tasks), expected)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "group", "none"])
def test_looped_and_vectorised_agree(norm):
    tasks, found = make_tasks(), []
    for how in ("loop", "vectorised"):
        relation = make_relation(norm, how)
        gradients = torch.autograd.grad(relation.meta_loss(tasks), relation.parameters())
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    assert ((found[0] - found[1]).norm() / found[0].norm()).item() < 1e-10


def test_permuting_labels_permutes_predictions():
    relation, tasks = make_relation("batch"), make_tasks()
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = copy.copy(tasks)
    object.__setattr__(permuted, "support_y", permutation[tasks.support_y])
    torch.testing.assert_close(relation.predict(permuted, 0)[..., permutation], relation.predict(tasks, 0))


def test_predictions_do_not_depend_on_other_tasks():
    relation, tasks = make_relation("batch", "vectorised"), make_tasks(4)
    alone = TaskBatch(*(t[2:3] for t in (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)), tasks.way)
    torch.testing.assert_close(relation.predict(tasks, 0)[:, 2:3], relation.predict(alone, 0), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_meta_training_lowers_the_loss(norm):
    torch.manual_seed(0)
    relation, stream = RelationNet(make_conv4(norm, "pool_twice"), norm=norm), make_stream(5, 1)
    before = relation.meta_loss(stream.draw(0, 20)).item()
    schedule = Schedule(20, None, 2, 0.01, 1.0, 100, None, 20, 8, 0)
    training = Training(relation, schedule, stream, make_stream(split="val"))
    for _ in range(20):
        training._step()
    assert relation.meta_loss(stream.draw(0, 20)).item() < before


@pytest.mark.parametrize("norm", ["support", "tasknorm"])
def test_norms_of_the_support_set_are_for_the_backbone_only(norm):
    relation = RelationNet(make_conv4(norm, "pool_twice"), norm="layer").double().eval()
    tasks = make_tasks()
    alone = TaskBatch(tasks.support_x, tasks.support_y, tasks.query_x[:, :1], tasks.query_y[:, :1], tasks.way)
    torch.testing.assert_close(relation.predict(tasks, 0)[:, :, :1], relation.predict(alone, 0))
    with pytest.raises(UserError, match=rf"algo\.norm={norm} but the relation module compares pairs"):
        make_relation(norm)


def test_a_backbone_without_maps_is_refused():
    with pytest.raises(UserError, match=r"algo=relation compares feature maps and MLP has none; use backbone=conv4"):
        RelationNet(MLP((1, 16, 16)))


def test_a_layer_without_units_is_refused():
    with pytest.raises(UserError, match=r"algo\.hidden=0 but it must be at least 1"):
        make_relation(hidden=0)
