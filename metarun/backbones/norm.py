"""What a network's normalisation takes its statistics over. It decides whether queries can see each other."""

from typing import Literal

import torch
from torch import Tensor, nn

from metarun.errors import UserError

Norm = Literal["batch", "running", "layer", "instance", "group", "none"]
NORMS: tuple[Norm, ...] = ("batch", "running", "layer", "instance", "group", "none")
EPSILON = 1e-5
GROUPS = 8


def make_norm(norm: Norm, channels: int, spatial: bool) -> nn.Module:
    """Make one normalisation layer with a learned scale and shift per channel.

    Args:
        norm: batch: over what is in the forward pass, so a prediction depends on its companions (transductive);
            running: batch statistics in meta-training, their running average afterwards; layer, instance, group: over
            each example alone; none: no normalisation.
        channels: of its input (n, channels, ...).
        spatial: the input is (n, channels, height, width).

    Raises:
        UserError: the norm is unknown or makes no sense for such an input.
    """
    if norm not in NORMS:
        raise UserError(f"backbone.norm='{norm}' is not one of {', '.join(NORMS)}.")
    if norm == "none":
        return nn.Identity()
    if norm == "running":
        return nn.BatchNorm2d(channels) if spatial else nn.BatchNorm1d(channels)
    if norm == "batch":
        return BatchStatistics(channels)
    groups = {"layer": 1, "instance": channels, "group": GROUPS}[norm]
    if channels % groups:
        raise UserError(f"backbone.norm=group makes {GROUPS} groups, which {channels} channels do not divide into.")
    if norm != "layer" and not spatial:
        raise UserError(
            f"backbone.norm={norm} needs feature maps; use batch, running, layer or none with this backbone."
        )
    return ExampleStatistics(channels, groups)


def norm_weights(module: nn.Module) -> list[str]:
    """Return the names of the scales and shifts that belong to normalisation, as `module.named_parameters` has them."""
    norms = (_Affine, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    layers = [(name, child) for name, child in module.named_modules() if isinstance(child, norms)]
    return [f"{name}.{own}" for name, child in layers for own, _ in child.named_parameters(recurse=False)]


class _Affine(nn.Module):
    """The learned scale and shift, one of each per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        per_channel = (-1, *[1] * (x.ndim - 2))
        return x * self.weight.view(per_channel) + self.bias.view(per_channel)


class BatchStatistics(nn.Module):
    """Batch normalisation by the statistics of the forward pass at hand, in meta-training and after.

    Written as plain tensor operations: in torch 2.13 the built-in batch_norm under vmap gives a wrong second
    derivative, which would make a vectorised MAML silently wrong.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.affine = _Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, ...) over everything but the channels."""
        over = (0, *range(2, x.ndim))
        normalised: Tensor = self.affine(_standardise(x, over))
        return normalised


class ExampleStatistics(nn.Module):
    """Normalisation of each example by itself, over groups of channels (Wu and He 2018)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.affine = _Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, ...) over each group's channels and positions."""
        grouped = x.reshape(x.shape[0], self.groups, -1)
        normalised: Tensor = self.affine(_standardise(grouped, (2,)).reshape(x.shape))
        return normalised


def _standardise(x: Tensor, over: tuple[int, ...]) -> Tensor:
    centred = x - x.mean(over, keepdim=True)
    return centred * (centred.square().mean(over, keepdim=True) + EPSILON).rsqrt()
