"""Batch normalisation and its derivatives, compared with numerical ones and with plain tensor operations."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import grad as gradients
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, vmap

from metarun.backbones.batch_norm import batch_norm

EPSILON = 1e-5


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def normalise(x, scale, shift):
    return batch_norm(x, scale, shift, EPSILON)


def plain(x, scale, shift):
    centred = x - x.mean((0, 2, 3), keepdim=True)
    deviation = (centred.square().mean((0, 2, 3), keepdim=True) + EPSILON).sqrt()
    return centred / deviation * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_matches_torch(layout):
    torch.manual_seed(0)
    x, scale, shift = draw(3, 2, 4, 5).contiguous(memory_format=layout), draw(2), draw(2)
    torchs = F.batch_norm(x, None, None, scale, shift, training=True, eps=EPSILON)
    torch.testing.assert_close(normalise(x, scale, shift), torchs)


@pytest.mark.parametrize("scale", [None, torch.zeros(2, dtype=torch.float64, requires_grad=True)])
@pytest.mark.parametrize("shape", [(3, 2, 4, 3), (6, 2)])
def test_three_derivatives_match_the_numerical_ones(shape, scale):
    torch.manual_seed(0)
    inputs = (draw(*shape), draw(2) if scale is None else scale, draw(2))
    weights = torch.randn(shape, dtype=torch.float64)
    assert gradcheck(normalise, inputs)
    assert gradgradcheck(normalise, inputs)

    def gradient(*inputs):
        return gradients((normalise(*inputs).sin() * weights).sum(), inputs, create_graph=True)

    assert gradgradcheck(gradient, inputs)


@pytest.mark.parametrize("shared", [True, False])
def test_vectorised_derivatives_match_plain_operations_in_a_loop(shared):
    """Two inner steps, the query loss and a Hessian-vector product make the meta-gradient a third derivative."""
    torch.manual_seed(0)
    supports, queries = draw(4, 3, 2, 4, 4).detach(), draw(4, 3, 2, 4, 4).detach()
    lead = () if shared else (4,)
    weights = (draw(*lead, 2, 2), draw(*lead, 2), draw(*lead, 2))

    def meta_loss(norm):
        def loss(weights, x):
            mixing, scale, shift = weights
            return norm(torch.einsum("oi,nihw->nohw", mixing, x), scale, shift).pow(3).sin().mean()

        def slope(weights, x):
            return sum(gradient.square().sum() for gradient in grad(loss)(weights, x))

        def of_task(support, query, weights):
            for _ in range(2):
                weights = tuple(w - 0.1 * g for w, g in zip(weights, grad(loss)(weights, support), strict=True))
            bent = grad(slope)(weights, query)
            return loss(weights, query) + sum(each.square().sum() for each in bent)

        return of_task

    own = [weights] * 4 if shared else list(zip(*weights, strict=True))
    looped = sum(meta_loss(plain)(*task) for task in zip(supports, queries, own, strict=True))
    vectorised = vmap(meta_loss(normalise), in_dims=(0, 0, None if shared else 0))(supports, queries, weights).sum()
    for found, expected in zip(gradients(vectorised, weights), gradients(looped, weights), strict=True):
        assert (found - expected).norm() < 1e-10 * expected.norm()
