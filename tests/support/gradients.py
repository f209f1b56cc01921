"""Helpers for tests of gradient-based methods."""

import copy

import pytest
import torch
from torch import nn

from metarun.algorithms import Algorithm
from metarun.backbones.norm import BatchStatistics
from metarun.tasks.batch import TaskBatch
from tests.support.synthetic import make_stream


def make_tasks(count=2, way=5, shot=1) -> TaskBatch:
    return make_stream(way, shot, query=2, dtype=torch.float64).draw(0, count)


def perturbed(method: Algorithm) -> Algorithm:
    """Return the method in float64 with perturbed weights: scales of 1 and shifts of 0 would hide errors."""
    for parameter in method.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return method.double()


def meta_gradient(method, tasks) -> torch.Tensor:
    gradients = torch.autograd.grad(method.meta_loss(tasks), list(method.parameters()), materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


def flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def with_torchs_batch_norm(module: nn.Module) -> nn.Module:
    """Return the same network with torch's own batch norm."""
    for name, child in module.named_children():
        if isinstance(child, BatchStatistics):
            torchs = nn.BatchNorm2d(len(child.affine.weight), track_running_stats=False).double()
            torchs.weight, torchs.bias = child.affine.weight, child.affine.bias
            setattr(module, name, torchs)
        else:
            with_torchs_batch_norm(child)
    return module


def smooth(module: nn.Module) -> nn.Module:
    """Return the same network without kinks, across which finite differences do not match gradients."""
    for name, child in module.named_children():
        replacement = {nn.ReLU: nn.SiLU(), nn.MaxPool2d: nn.AvgPool2d(2)}.get(type(child))
        setattr(module, name, replacement if replacement is not None else smooth(child))
    return module


def assert_equal_to(ours: torch.Tensor, theirs: torch.Tensor, relative=1e-9) -> None:
    assert ((ours - theirs).norm() / theirs.norm()).item() < relative


def assert_meta_gradient_matches_finite_difference(method: nn.Module, tasks: TaskBatch) -> None:
    """Compare the second-order meta-gradient of a smooth network with a finite difference in a random direction."""
    torch.manual_seed(1)
    direction = [torch.randn_like(parameter) / 50 for parameter in method.parameters()]  # length about 1
    gradient = meta_gradient(method, tasks)
    slope = (gradient * flat(direction)).sum()

    def loss_at(step: float) -> float:
        moved = copy.deepcopy(method)
        for parameter, d in zip(moved.parameters(), direction, strict=True):
            parameter.data += step * d
        return moved.meta_loss(tasks).item()

    h = 1e-4
    finite = (8 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12 * h)  # exact to h^4
    assert slope.item() == pytest.approx(finite, rel=1e-6)
