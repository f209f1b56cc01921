import copy

import pytest
import torch

from metarun.algorithms import MAML, ProtoNet, to_channels_last
from tests.support.synthetic import make_conv4, make_stream


@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_channels_last_changes_neither_loss_nor_gradient(downsample):
    torch.manual_seed(0)
    plain = ProtoNet(make_conv4("running", downsample)).double()
    fast, tasks = to_channels_last(copy.deepcopy(plain)), make_stream(dtype=torch.float64).draw(0, 2)
    assert fast.backbone.layers[1][0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast.meta_loss(tasks), plain.meta_loss(tasks), rtol=1e-10, atol=0)
    of_both = [torch.autograd.grad(each.meta_loss(tasks), list(each.parameters())) for each in (fast, plain)]
    for ours, theirs in zip(*of_both, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_methods_with_an_inner_loop_are_unchanged():
    maml = to_channels_last(MAML(make_conv4(), 5, 0.1, 1))
    assert all(parameter.is_contiguous() for parameter in maml.parameters())
