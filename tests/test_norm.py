import pytest
import torch
from torch import nn

from metarun.backbones import MLP, NORMS, Conv4
from metarun.backbones.norm import BatchStatistics, ExampleStatistics, make_norm
from metarun.errors import UserError


@pytest.mark.parametrize("shape", [(6, 16, 3, 5), (6, 16)])
def test_batch_statistics_are_torchs(shape):
    x = torch.randn(shape, dtype=torch.float64)
    torchs = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(16).double()
    torch.testing.assert_close(BatchStatistics(16).double()(x), torchs(x))


@pytest.mark.parametrize("groups", [1, 8, 16])
def test_example_statistics_are_torchs_group_norm(groups):
    x = torch.randn(6, 16, 3, 5, dtype=torch.float64)
    ours, torchs = ExampleStatistics(16, groups).double(), nn.GroupNorm(groups, 16).double()
    for norm in (ours.affine, torchs):
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
        nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours(x), torchs(x))


@pytest.mark.parametrize("norm", NORMS)
def test_only_batch_statistics_let_examples_see_each_other_after_training(norm):
    torch.manual_seed(0)
    network = Conv4((1, 16, 16), 8, "stride", norm).double().eval()
    x = torch.rand(4, 1, 16, 16, dtype=torch.float64)
    alone = torch.cat([network(one[None]) for one in x])
    assert torch.allclose(network(x), alone) == (norm != "batch")


def test_running_statistics_are_gathered_in_training_and_used_afterwards():
    norm = make_norm("running", 3, spatial=True)
    x = 5 + 2 * torch.randn(64, 3, 8, 8)
    for _ in range(100):
        norm(x)
    out = norm.eval()(x)
    assert abs(out.mean().item()) < 0.05
    assert abs(out.std().item() - 1) < 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_norm("btach", 8, True), r"backbone\.norm='btach' is not one of batch, running"),
        (lambda: make_norm("group", 12, True), r"backbone\.norm=group makes 8 groups, which 12 channels"),
        (lambda: make_norm("instance", 12, False), r"backbone\.norm=instance needs feature maps"),
        (
            lambda: Conv4((5,)),
            r"backbone=conv4 needs images but the data has examples of shape \(5,\); use backbone=mlp",
        ),
        (lambda: Conv4((1, 8, 8)), r"halves images four times but they are 8x8; use downsample=stride"),
        (lambda: Conv4((1, 28, 28), downsample="none"), r"backbone\.downsample='none' is not one of pool, stride"),
        (lambda: MLP((1,), []), r"backbone\.hidden=\[\] but every layer needs units"),
    ],
)
def test_a_network_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    ("network", "parameters", "features"),
    [
        (Conv4((1, 28, 28), 64, "pool"), 111_936, 64),
        (Conv4((1, 28, 28), 64, "stride"), 111_936, 64),
        (Conv4((3, 84, 84), 32, "pool"), 28_896, 800),
        (MLP((1,), [40, 40]), 1_720, 40),
    ],
)
def test_sizes_are_the_papers(network, parameters, features):
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network.features == features
    assert network.eval()(torch.zeros(2, *SHAPES[parameters])).shape == (2, features)


SHAPES = {111_936: (1, 28, 28), 28_896: (3, 84, 84), 1_720: (1,)}
