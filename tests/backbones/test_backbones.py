"""Networks compared with the papers' sizes and with torchvision's."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import MAML, ProtoNet
from metarun.backbones import NORMS, Conv4, Module, ResNet12, ResNet18, WRN28x10
from metarun.backbones.resnet12 import drop_squares
from metarun.config.instantiate import build
from metarun.errors import UserError
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.reference import import_torchvision
from tests.support.synthetic import make_stream
from tests.training.test_loop import SCHEDULE, Notes

RGB = (3, 84, 84)


def weights_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_statistics_of_a_map_are_the_mean_of_stride_and_the_deviation():
    network = Conv4((1, 32, 64), 5, "stride_statistics").double().eval()
    x = torch.rand(3, 1, 32, 64, dtype=torch.float64)
    maps, features = network.feature_map(x), network(x)
    assert features.shape == (3, network.features)
    torch.testing.assert_close(features[:, :5], maps.mean((2, 3)))
    torch.testing.assert_close(features[:, 5:] ** 2, maps.var((2, 3), correction=0) + 1e-5)


def test_statistics_of_a_map_without_variance_have_second_derivatives():
    reduce = Conv4((1, 16, 16), 2, "stride_statistics").double().layers[-1]
    maps = torch.zeros(2, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(reduce, maps)


@pytest.mark.parametrize(
    ("make", "weights", "features"),
    [
        (lambda: Conv4(RGB, 64), 3 * 9 * 64 + 3 * 64 * 9 * 64 + 4 * 3 * 64, 1600),  # 0.113 M in MetaOptNet and RFS
        (lambda: Conv4(RGB, 48), 3 * 9 * 48 + 3 * 48 * 9 * 48 + 4 * 3 * 48, 1200),
        (lambda: Conv4(RGB, 32), 3 * 9 * 32 + 3 * 32 * 9 * 32 + 4 * 3 * 32, 800),  # MAML's on mini-ImageNet
        (lambda: ResNet12(RGB), 12_424_320, 640),  # 12.4 M in RFS
        (lambda: ResNet18(RGB, "7x7"), 11_176_512, 512),  # 11.17 M in Chen et al.
        (lambda: WRN28x10(RGB), 36_479_194 - 6_410, 640),  # 36.5 M in the paper, with its head of 10 classes
    ],
    ids=["conv4-64", "conv4-48", "conv4-32", "resnet12", "resnet18", "wrn28_10"],
)
def test_sizes_match_the_papers(make, weights, features):
    network = make()
    assert weights_of(network) == weights
    assert network.features == features


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 84, 84), (3, 32, 32)])
@pytest.mark.parametrize("kind", [ResNet12, ResNet18])
def test_features_are_one_vector_per_image(kind, shape):
    network = kind(shape).eval()
    with torch.no_grad():
        assert network(torch.rand(2, *shape)).shape == (2, network.features)


def test_the_wide_network_halves_its_map_twice():
    network = WRN28x10((1, 16, 16)).eval()
    with torch.no_grad():
        assert network.layers(torch.rand(1, 1, 16, 16)).shape == (1, 640, 4, 4)
        assert network(torch.rand(2, 1, 16, 16)).shape == (2, 640)


@pytest.mark.cross
@pytest.mark.parametrize("kind", [ResNet12, ResNet18, WRN28x10])
@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_is_used_throughout_the_network(kind, norm):
    network = kind((1, 16, 16), norm=norm)
    kinds = {type(module).__name__ for module in network.modules() if not list(module.children())}
    expected = {"batch": "_Affine", "running": "BatchNorm2d", "none": "Identity"}.get(norm, "_Affine")
    assert expected in kinds
    assert ("BatchNorm2d" in kinds) == (norm == "running")


@pytest.mark.peers
def test_resnet18_matches_torchvision():
    torchvision = import_torchvision()
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18().double()
    for tensor in theirs.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand_like(tensor))
    theirs.fc = nn.Identity()
    ours = ResNet18((3, 64, 64), "7x7", "running").double()
    mine, given = ours.state_dict(), list(theirs.state_dict().values())
    assert [tensor.shape for tensor in mine.values()] == [tensor.shape for tensor in given]
    ours.load_state_dict(dict(zip(mine, given, strict=True)))
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected = theirs.eval()(images)
    assert (ours.eval()(images) - expected).norm() < 1e-9 * expected.norm()


def test_resnet12_drops_only_in_training():
    torch.manual_seed(0)
    network, images = ResNet12((1, 16, 16), 0.5, "layer"), torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        assert not torch.equal(network(images), network(images))
        network.eval()
        assert torch.equal(network(images), network(images))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_whole_squares_are_dropped_and_the_mean_is_kept(size):
    torch.manual_seed(0)
    x = torch.ones(64, 8, 12, 12, dtype=torch.float64)
    dropped = drop_squares(x, 0.9, size)
    assert dropped.mean().item() == pytest.approx(1, rel=1e-12)
    kept = (dropped != 0).double()
    assert kept.mean().item() == pytest.approx(0.9, abs=0.02)
    # Every zero is in a whole square of zeros: opening the dropped set by such a square changes nothing.
    holes = 1 - kept
    eroded = 1 - F.max_pool2d(1 - holes, size, stride=1)
    opened = F.max_pool2d(F.pad(eroded, (size - 1,) * 4), size, stride=1)
    assert torch.equal(opened, holes)


def test_each_task_of_a_vectorised_batch_draws_its_own_dropout():
    torch.manual_seed(0)
    x = torch.ones(3, 4, 8, 10, 10)
    dropped = torch.func.vmap(lambda one: drop_squares(one, 0.8, 3), randomness="different")(x)
    assert not torch.equal(dropped[0], dropped[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", [MAML, ProtoNet])
def test_a_resumed_training_with_dropout_reproduces_the_same_bits(method):
    def make() -> Training:
        torch.manual_seed(0)
        backbone = ResNet12((1, 16, 16), 0.8, "layer")
        made = MAML(backbone, 2, 0.1, 1) if method is MAML else ProtoNet(backbone)
        schedule = Schedule(**{**SCHEDULE, "iterations": 2, "validate_tasks": 1, "meta_batch": 1})
        return Training(made, schedule, make_stream(2, 1, 1), make_stream(2, 1, 1, split="val"), seed=3)

    undisturbed, stopped, resumed = make(), make(), make()
    Notes(undisturbed).run()
    stopped._step()
    resumed.restore(copy.deepcopy(stopped.state()))
    torch.manual_seed(99)
    Notes(resumed).run()
    for name, tensor in undisturbed.algorithm.state_dict().items():
        assert torch.equal(tensor, resumed.algorithm.state_dict()[name]), name


def test_any_module_can_be_named():
    node = {
        "_target_": "metarun.backbones.Module",
        "module": {
            "_target_": "torch.nn.Sequential",
            "_args_": [
                {"_target_": "torch.nn.Flatten"},
                {"_target_": "torch.nn.Linear", "in_features": 256, "out_features": 7},
            ],
        },
    }
    backbone = build("backbone", node, input_shape=(1, 16, 16))
    assert isinstance(backbone, Module)
    assert backbone.features == 7
    assert backbone.training
    assert all(module.training for module in backbone.modules())
    tasks = make_stream().draw(0, 2)
    assert ProtoNet(backbone).eval().predict(tasks, 0).shape == (1, 2, 15, 5)
    assert torch.isfinite(MAML(backbone, 5, 0.1, 1).meta_loss(tasks))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ({"_target_": "torch.nn.Identity"}, r"Identity returns \[2, 1, 16, 16\] for 2 examples but must return"),
        ({"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}, r"Linear fails on examples of shape"),
        ({"_target_": "torch.nn.Linear"}, r"`backbone` cannot be built: .*in_features"),
        ({"_target_": "no.such.Network"}, r"`backbone` cannot be built: .*no\.such\.Network"),
        ({"_target_": "torch.zeros", "size": [2]}, r"backbone\.module is a Tensor, not a torch\.nn\.Module"),
    ],
)
def test_a_module_that_is_not_a_backbone_is_refused(module, message):
    with pytest.raises(UserError, match=message):
        build("backbone", {"_target_": "metarun.backbones.Module", "module": module}, input_shape=(1, 16, 16))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNet12((1,)), r"backbone=resnet12 needs images but the data has examples of shape \(1,\)"),
        (lambda: ResNet18((1,)), r"backbone=resnet18 needs images but the data has examples of shape \(1,\)"),
        (lambda: WRN28x10((1,)), r"backbone=wrn28_10 needs images but the data has examples of shape \(1,\)"),
        (lambda: ResNet12((1, 12, 12)), r"halves images four times but they are 12x12"),
        (lambda: ResNet12((1, 16, 16), 0.0), r"backbone\.keep_rate=0\.0 but it must be above 0 and at most 1"),
        (lambda: ResNet18((1, 16, 16), "5x5"), r"backbone\.first='5x5' is not one of 7x7, 3x3"),
    ],
)
def test_invalid_arguments_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
