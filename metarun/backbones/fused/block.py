"""A block of a network: convolution, normalisation, max-pooling or none, ReLU; in torch's operations or compiled."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from metarun.backbones.fused.convolution import convolve
from metarun.backbones.fused.given_scale import scale_pool_relu
from metarun.backbones.fused.operation import norm_pool_relu
from metarun.backbones.fused.statistics import scale_and_shift
from metarun.backbones.norm import EPSILON, BatchStatistics, SupportStatistics, support_of


class Block(nn.Sequential):
    """Convolution, normalisation, max-pooling over 2x2 windows or none, ReLU.

    `set_compiled` chooses compiled code, where there is any: on a CPU, in float32 and float64. Both ways compute the
    same but for rounding.
    """

    compiled = False

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module, pool: bool) -> None:
        pooling = [nn.MaxPool2d(2)] if pool else []  # before the ReLU: the same result for a quarter of the work
        super().__init__(convolution, norm, *pooling, nn.ReLU())
        self.pools = pool

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, height, width) to (n, filters, …)."""
        is_supported = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
        if not self.compiled or not is_supported or self[0].weight.dtype != x.dtype:
            found: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return found
        return self._activate(self._convolve(x))

    def _convolve(self, x: Tensor) -> Tensor:
        convolution = cast(nn.Conv2d, self[0])
        return convolve(x, convolution.weight, cast(Tensor, convolution.bias), convolution.stride[0])

    def _activate(self, x: Tensor) -> Tensor:
        norm: nn.Module = self[1]
        if isinstance(norm, BatchStatistics | SupportStatistics):
            known = x if isinstance(norm, BatchStatistics) else support_of(x)
            if known.shape[0] == x.shape[0]:
                return norm_pool_relu(x, norm.affine.weight, norm.affine.bias, EPSILON, 0.0, self.pools)[0]
        if type(norm) is nn.BatchNorm2d and norm.training:
            return self._with_running_statistics(norm, x)
        found = scale_and_shift(norm, x)
        if found is not None:
            return scale_pool_relu(x, *found, 0.0, self.pools)
        for layer in list(self)[1:]:
            x = layer(x)
        return x

    def _with_running_statistics(self, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
        average, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        y, mean, inverse = norm_pool_relu(x, norm.weight, norm.bias, norm.eps, 0.0, self.pools)
        count, momentum = x.numel() // x.shape[1], cast(float, norm.momentum)
        with torch.no_grad():  # as torch does: the mean and the unbiased variance of the batch
            found = (inverse.double().pow(-2) - norm.eps).clamp(min=0) * (count / max(count - 1, 1))
            average.lerp_(mean, momentum)
            variance.lerp_(found.to(variance.dtype), momentum)
            cast(Tensor, norm.num_batches_tracked).add_(1)
        return y


def set_compiled(network: nn.Module, compiled: bool) -> None:
    """Use compiled code in the blocks of a network, or torch's operations."""
    for block in _blocks(network):
        block.compiled = compiled


def is_compiled(network: nn.Module) -> bool:
    """Whether the blocks of a network use compiled code."""
    return any(block.compiled for block in _blocks(network))


def has_blocks(network: nn.Module) -> bool:
    """Whether compiled code could be used."""
    return any(True for _ in _blocks(network))


def _blocks(network: nn.Module) -> Iterator[Block]:
    return (part for part in network.modules() if isinstance(part, Block))
