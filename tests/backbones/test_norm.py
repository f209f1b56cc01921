import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.backbones import MLP, NORMS, Conv4, embed_queries, embed_together
from metarun.backbones.norm import BatchStatistics, ExampleStatistics, SupportStatistics, TaskNorm, make_norm
from metarun.errors import UserError


@pytest.mark.parametrize("shape", [(6, 16, 3, 5), (6, 16)])
def test_batch_statistics_match_torch(shape):
    x = torch.randn(shape, dtype=torch.float64)
    torchs = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(16).double()
    torch.testing.assert_close(BatchStatistics(16).double()(x), torchs(x))


@pytest.mark.parametrize("groups", [1, 8, 16])
def test_example_statistics_match_torch_group_norm(groups):
    x = torch.randn(6, 16, 3, 5, dtype=torch.float64)
    ours, torchs = ExampleStatistics(16, groups).double(), nn.GroupNorm(groups, 16).double()
    for norm in (ours.affine, torchs):
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
        nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours(x), torchs(x))


@pytest.mark.parametrize("shape", [(6, 16, 3, 5), (6, 16)])
def test_support_statistics_match_torch_with_running_statistics_of_the_support_set(shape):
    support, query = (torch.randn(shape, dtype=torch.float64) for _ in range(2))
    over = (0, *range(2, len(shape)))
    expected = F.batch_norm(query, support.mean(over), support.var(over, correction=0))
    ours, theirs = embed_together(SupportStatistics(16).double(), support, query)
    torch.testing.assert_close(theirs, expected)
    torch.testing.assert_close(ours, BatchStatistics(16).double()(support))


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_tasknorm_blends_the_moments_as_in_the_paper(slope):
    support, query = torch.randn(6, 4, 3, 5, dtype=torch.float64), 2 * torch.randn(2, 4, 3, 5, dtype=torch.float64)
    norm = TaskNorm(4).double()
    norm.slope.data.fill_(slope)
    norm.offset.data.fill_(-1.0)
    alpha = torch.sigmoid(torch.tensor(6 * slope - 1.0, dtype=torch.float64))
    for channel, example in [(0, 0), (3, 1)]:
        ours, theirs = query[example, channel], support[:, channel]
        mean = alpha * theirs.mean() + (1 - alpha) * ours.mean()
        variance = alpha * (theirs.var(correction=0) + (theirs.mean() - mean) ** 2)
        variance += (1 - alpha) * (ours.var(correction=0) + (ours.mean() - mean) ** 2)
        found = embed_together(norm, support, query)[1][example, channel]
        torch.testing.assert_close(found, (ours - mean) / (variance + 1e-5).sqrt())


@pytest.mark.parametrize(("offset", "other"), [(50.0, SupportStatistics(4)), (-50.0, ExampleStatistics(4, 4))])
def test_tasknorm_reduces_to_support_or_instance_norm(offset, other):
    x = torch.randn(6, 4, 3, 5, dtype=torch.float64)
    norm = TaskNorm(4).double()
    norm.offset.data.fill_(offset)
    for ours, theirs in zip(embed_together(norm, x[:4], x[4:]), embed_together(other, x[:4], x[4:]), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("norm", NORMS)
def test_only_batch_statistics_let_queries_see_each_other_after_training(norm):
    torch.manual_seed(0)
    network = Conv4((1, 16, 16), 8, "stride", norm).double().eval()
    support, query = torch.rand(6, 1, 16, 16, dtype=torch.float64), torch.rand(4, 1, 16, 16, dtype=torch.float64)
    alone = torch.cat([embed_queries(network, support, one[None]) for one in query])
    assert torch.allclose(embed_queries(network, support, query), alone) == (norm != "batch")


def test_running_statistics_are_updated_in_training_and_used_afterwards():
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
        (lambda: make_norm("btach", 8, True), r"backbone\.norm='btach' is not one of batch, support, running"),
        (lambda: make_norm("group", 12, True), r"backbone\.norm=group needs a multiple of 8 channels but there are 12"),
        (lambda: make_norm("instance", 12, False), r"backbone\.norm=instance needs feature maps"),
        (
            lambda: Conv4((5,)),
            r"backbone=conv4 needs images but the data has examples of shape \(5,\); use backbone=mlp",
        ),
        (lambda: Conv4((1, 8, 8)), r"halves images four times but they are 8x8; use `backbone.downsample=stride`"),
        (lambda: Conv4((1, 28, 28), downsample="none"), r"backbone\.downsample='none' is not one of pool, stride"),
        (lambda: MLP((1,), []), r"backbone\.hidden=\[\] but at least one layer"),
    ],
)
def test_invalid_arguments_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    ("network", "parameters", "features"),
    [
        (Conv4((1, 28, 28), 64, "pool"), 111_936, 64),
        (Conv4((1, 28, 28), 64, "stride"), 111_936, 64),
        (Conv4((1, 28, 28), 64, "stride_statistics"), 111_936, 128),
        (Conv4((3, 84, 84), 32, "pool"), 28_896, 800),
        (MLP((1,), [40, 40]), 1_720, 40),
    ],
)
def test_sizes_match_the_papers(network, parameters, features):
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network.features == features
    assert network.eval()(torch.zeros(2, *SHAPES[parameters])).shape == (2, features)


SHAPES = {111_936: (1, 28, 28), 28_896: (3, 84, 84), 1_720: (1,)}
