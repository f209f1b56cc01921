"""Defects of torch that metarun works around. If a test fails here, remove the workaround."""

import torch
import torch.nn.functional as F
from torch.func import grad, vmap


def meta_gradient(batch_norm, vectorised: bool) -> torch.Tensor:
    """The gradient of a linear layer with normalised outputs through one inner step on each of three tasks."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    weights = tuple(w.double().requires_grad_() for w in (weight, torch.ones(4), torch.zeros(4)))
    support, query = torch.randn(2, 3, 5, 3, generator=generator, dtype=torch.float64)

    def loss(weights, x):
        weight, scale, shift = weights
        return batch_norm(x @ weight.T, scale, shift).pow(3).mean()

    def adapted_loss(support, query):
        gradient = grad(loss)(weights, support)
        return loss(tuple(w - 0.1 * g for w, g in zip(weights, gradient, strict=True)), query)

    if vectorised:
        total = vmap(adapted_loss)(support, query).sum()
    else:
        total = sum(adapted_loss(s, q) for s, q in zip(support, query, strict=True))
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(total, weights)])


def torchs(x, scale, shift):
    return F.batch_norm(x, None, None, scale, shift, training=True)


def plain(x, scale, shift):
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt() * scale + shift


def test_the_double_backward_of_batch_norm_is_wrong_when_vectorised():
    right = meta_gradient(plain, vectorised=False)
    torch.testing.assert_close(meta_gradient(plain, vectorised=True), right)
    torch.testing.assert_close(meta_gradient(torchs, vectorised=False), right)
    wrong = meta_gradient(torchs, vectorised=True)
    assert (wrong - right).norm() > 1e-3 * right.norm(), "fixed: norm.py can always use torch's own batch_norm"


def test_the_double_backward_of_layer_norm_is_wrong_when_vectorised():
    def torchs(x, scale, shift):
        return F.layer_norm(x, (4,), scale, shift)

    def plain(x, scale, shift):
        centred = x - x.mean(-1, keepdim=True)
        return centred * (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * scale + shift

    right = meta_gradient(plain, vectorised=False)
    torch.testing.assert_close(meta_gradient(plain, vectorised=True), right)
    torch.testing.assert_close(meta_gradient(torchs, vectorised=False), right)
    wrong = meta_gradient(torchs, vectorised=True)
    assert (wrong - right).norm() > 1e-3 * right.norm(), "fixed: transformer.py can use torch's own layer_norm"
