"""Normalisation layers. What their statistics are over decides whether queries can see each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.batch_norm import batch_norm
from metarun.backbones.bfloat16 import upcast
from metarun.errors import UserError
from metarun.system.execution_mode import is_looping_over_tasks
from metarun.system.limits import check_one_of

Norm = Literal["batch", "support", "running", "layer", "instance", "group", "tasknorm", "none"]
NORMS: tuple[Norm, ...] = ("batch", "support", "running", "layer", "instance", "group", "tasknorm", "none")
EPSILON = 1e-5
GROUPS = 8
MIN_SIZE = 2**18  # from this many numbers on, `batch_norm` is faster than torch's, which is quicker to call

# How many of the first examples of the current forward pass are the support set; None: all.
_support: ContextVar[int | None] = ContextVar("support", default=None)


@contextmanager
def support_first(count: int) -> Iterator[None]:
    """Within the block, the first `count` examples of every forward pass are the support set, the rest queries."""
    token = _support.set(count)
    try:
        yield
    finally:
        _support.reset(token)


def support_of(each: Tensor) -> Tensor:
    """Return the rows of a forward pass that belong to the support set, see `support_first`; all if unknown."""
    return each[: _support.get()]


def make_norm(norm: Norm, channels: int, spatial: bool) -> nn.Module:
    """Return a normalisation layer with a learned scale and shift per channel.

    Args:
        norm: batch: over all examples of the forward pass, so predictions depend on each other (transductive);
            support: over the support set, for queries too; running: batch statistics in meta-training, their running
            average afterwards; layer, instance, group: over each example; tasknorm: a learned blend of support and
            instance; none: no normalisation.
        channels: of its input (n, channels, ...).
        spatial: the input is (n, channels, height, width).

    Raises:
        UserError: the norm is unknown or does not fit the input.
    """
    check_one_of("backbone.norm", norm, NORMS)
    if norm == "none":
        return nn.Identity()
    if norm == "running":
        return nn.BatchNorm2d(channels) if spatial else nn.BatchNorm1d(channels)
    if norm in ("batch", "support"):
        return BatchStatistics(channels) if norm == "batch" else SupportStatistics(channels)
    if norm in ("instance", "group", "tasknorm") and not spatial:
        raise UserError(
            f"backbone.norm={norm} needs feature maps", "use batch, support, running, layer or none with this backbone."
        )
    if norm == "tasknorm":
        return TaskNorm(channels)
    groups = {"layer": 1, "instance": channels, "group": GROUPS}[norm]
    if channels % groups:
        raise UserError(
            f"backbone.norm=group needs a multiple of {GROUPS} channels but there are {channels}",
            "change the number of channels, or use another norm.",
        )
    return ExampleStatistics(channels, groups)


def norm_weights(module: nn.Module) -> list[str]:
    """Return the names of the weights of normalisation layers, as in `module.named_parameters`."""
    norms = (_Affine, TaskNorm, LayerNorm, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    layers = [(name, child) for name, child in module.named_modules() if isinstance(child, norms)]
    return [f"{name}.{own}" for name, child in layers for own, _ in child.named_parameters(recurse=False)]


def normalises_over_examples(network: nn.Module) -> bool:
    """Whether a layer normalises an example by statistics of others, in meta-training at least."""
    layers = (BatchStatistics, SupportStatistics, TaskNorm, nn.modules.batchnorm._BatchNorm)
    return any(isinstance(layer, layers) for layer in network.modules())


class _Affine(nn.Module):
    """A learned scale and shift per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        per_channel = (-1, *[1] * (x.ndim - 2))
        return x * self.weight.view(per_channel) + self.bias.view(per_channel)


class _BeforeAffine(nn.Module):
    """A normalisation that `affine` scales and shifts."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.affine = _Affine(channels)


class BatchStatistics(_BeforeAffine):
    """Batch normalisation by the statistics of the current forward pass, in meta-training and afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, ...) over all dimensions but the channels."""
        exact, scale, shift = upcast(x), self.affine.weight, self.affine.bias
        if exact.numel() == exact.shape[1]:  # torch refuses the variance of a single number
            found: Tensor = self.affine(_standardise(exact, exact, (0, *range(2, x.ndim))))
        elif is_looping_over_tasks() and exact.numel() < MIN_SIZE:
            found = F.batch_norm(exact, None, None, scale, shift, training=True, eps=EPSILON)
        else:
            found = batch_norm(exact, scale, shift, EPSILON)
        return found.to(x.dtype)


class SupportStatistics(_BeforeAffine):
    """Batch normalisation by the statistics of the support set, so that queries cannot see each other.

    `support_first` sets which examples of a forward pass are the support set.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, ...) over all dimensions of the support examples but the channels."""
        normalised: Tensor = self.affine(_standardise(x, support_of(x), (0, *range(2, x.ndim)))).to(x.dtype)
        return normalised


class TaskNorm(_BeforeAffine):
    """TaskNorm-I (Bronskill, Gordon, Requeima, Nowozin, Turner 2020, https://arxiv.org/abs/2003.03284, section 4).

    The moments of the support set are blended with those of each example. The weight of the support set depends on its
    size: alpha = sigmoid(slope * size + offset), with slope and offset learned and initially 0. Deviation: a query is
    normalised by the support set's moments under the current weights; the authors' code keeps those of the last support
    pass, one inner step earlier.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.slope = nn.Parameter(torch.zeros(1))
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, height, width)."""
        exact = upcast(x)
        support = support_of(exact)
        mean, variance = self.blend(_moments(support, (0, 2, 3)), _moments(exact, (2, 3)), support.shape[0])
        normalised: Tensor = self.affine((exact - mean) * (variance + EPSILON).rsqrt()).to(x.dtype)
        return normalised

    def blend(
        self, of_support: tuple[Tensor, Tensor], of_each: tuple[Tensor, Tensor], size: int
    ) -> tuple[Tensor, Tensor]:
        """Return the mean and variance that normalise, from those of a support set of that size and of each example."""
        alpha = torch.sigmoid(self.slope * size + self.offset)
        mean = alpha * of_support[0] + (1 - alpha) * of_each[0]
        variance = alpha * (of_support[1] + (of_support[0] - mean).square())
        return mean, variance + (1 - alpha) * (of_each[1] + (of_each[0] - mean).square())


class LayerNorm(nn.Module):
    """Layer normalisation; torch 2.13's own has a wrong second derivative under vmap.

    Args:
        width: numbers of the last dimension.
        epsilon: added to the variance.
    """

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        centred = x - x.mean(-1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(-1, keepdim=True) + self.epsilon)
        found: Tensor = centred * scale * self.weight + self.bias
        return found


class ExampleStatistics(_BeforeAffine):
    """Normalisation of each example over groups of channels (Wu and He 2018)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, ...) over each group's channels and positions."""
        grouped = x.reshape(x.shape[0], self.groups, -1)
        normalised: Tensor = self.affine(_standardise(grouped, grouped, (2,)).reshape(x.shape)).to(x.dtype)
        return normalised


def _standardise(x: Tensor, known: Tensor, over: tuple[int, ...]) -> Tensor:
    """Normalise x by the mean and variance of `known`, x or its first examples; bfloat16 becomes float32."""
    exact = upcast(x)
    centred = exact - (exact if known is x else exact[: known.shape[0]]).mean(over, keepdim=True)
    return centred * (centred[: known.shape[0]].square().mean(over, keepdim=True) + EPSILON).rsqrt()


def _moments(x: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the mean and variance over dimensions, which are kept with length 1."""
    mean = x.mean(over, keepdim=True)
    return mean, (x - mean).square().mean(over, keepdim=True)
