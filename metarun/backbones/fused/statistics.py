"""The scale and shift of each example and channel that a norm amounts to."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from metarun.backbones.fused.given_scale import moments
from metarun.backbones.norm import EPSILON, ExampleStatistics, SupportStatistics, TaskNorm, support_of

Moments = tuple[Tensor, Tensor]  # mean and variance, (n, channels) or broadcast to it


def scale_and_shift(norm: nn.Module, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the scale and shift (n, channels) by which a norm maps x (n, channels, height, width); None: unknown."""
    if type(norm) is nn.Identity:
        return torch.ones_like(x[..., 0, 0]), torch.zeros_like(x[..., 0, 0])
    if type(norm) is nn.BatchNorm2d and not norm.training:
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        return _from_moments(norm, mean, variance + norm.eps, x)
    found = _moments(norm, x)
    return None if found is None else _from_moments(norm.affine, found[0], found[1] + EPSILON, x)


def _from_moments(affine: Any, mean: Tensor, variance: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    scale = affine.weight * variance.rsqrt()
    return scale.expand(x.shape[:2]), (affine.bias - mean * scale).expand(x.shape[:2])


def _moments(norm: nn.Module, x: Tensor) -> Moments | None:
    """Return the moments by which a norm of this package normalises x."""
    if isinstance(norm, ExampleStatistics) and x[0].numel() > norm.groups:  # a number by itself is 0, exactly
        channels = x.shape[1] // norm.groups
        mean, variance = (each.reshape(-1, norm.groups, channels) for each in moments(x))
        mean, variance = _merge(mean, variance, 2)
        return mean.expand(-1, -1, channels).flatten(1), variance.expand(-1, -1, channels).flatten(1)
    if isinstance(norm, SupportStatistics):
        return _of_support(moments(x))
    if isinstance(norm, TaskNorm):
        of_each = moments(x)
        return norm.blend(_of_support(of_each), of_each, support_of(x).shape[0])
    return None


def _of_support(of_each: Moments) -> Moments:
    mean, variance = of_each
    return _merge(support_of(mean), support_of(variance), 0)


def _merge(mean: Tensor, variance: Tensor, over: int) -> Moments:
    """Return the moments of equally large sets together, from those of each; the dimension is kept with length 1."""
    together = mean.mean(over, keepdim=True)
    return together, (variance + (mean - together).square()).mean(over, keepdim=True)
