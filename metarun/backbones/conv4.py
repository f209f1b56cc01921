"""Four convolutions: the common network of few-shot papers."""

from typing import Literal

import torch
from torch import Tensor, nn

from metarun.backbones.backbone import Backbone, image_shape
from metarun.backbones.fused import Block
from metarun.backbones.norm import Norm, make_norm
from metarun.errors import UserError
from metarun.system.limits import check_at_least, check_one_of


class Conv4(Backbone):
    """Four blocks of 3x3 convolution, normalisation, ReLU and downsampling (Vinyals et al. 2016).

    Args:
        input_shape: (channels, height, width) of an example.
        filters: channels of each convolution.
        downsample: "pool": 2x2 max-pooling after each block, the last map flattened (Snell et al. 2017; MAML on
            mini-ImageNet); "stride": convolutions of stride 2, the mean over the last map (MAML on Omniglot);
            "stride_statistics": the same, with the standard deviation over the last map beside the mean, as x-vectors
            describe sounds (Snyder et al. 2018, "statistics pooling"); "pool_twice": max-pooling after the first two
            blocks only, for feature maps to compare (Sung et al. 2018).
        norm: see `make_norm`.

    Raises:
        UserError: the input is not an image or too small, or an argument is invalid.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        filters: int = 64,
        downsample: Literal["pool", "stride", "stride_statistics", "pool_twice"] = "pool",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        channels, height, width = image_shape("conv4", input_shape)
        check_one_of("backbone.downsample", downsample, _REDUCE)
        check_at_least("backbone.filters", filters, 1)
        if downsample == "pool" and min(height, width) < 16:
            raise UserError(
                f"backbone=conv4 halves images four times but they are {height}x{width}",
                "use `backbone.downsample=stride`.",
            )
        widths = [channels, filters, filters, filters, filters]
        halved = "stride" if downsample.startswith("stride") else "pool"
        halving = [halved, halved, "none", "none"] if downsample == "pool_twice" else [halved] * 4
        blocks = [_block(widths[i], widths[i + 1], halving[i], norm) for i in range(4)]
        self.layers = nn.Sequential(*blocks, _REDUCE[downsample]())
        for how in halving:
            if how == "stride":
                height, width = (height + 1) // 2, (width + 1) // 2
            elif how != "none":
                height, width = height // 2, width // 2
        self.map_shape = (filters, height, width)
        numbers = {"stride": 1, "stride_statistics": 2}.get(downsample, height * width)  # of each filter
        self.features = filters * numbers

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, height, width) to (n, features)."""
        features: Tensor = self.layers(x)
        return features

    def feature_map(self, x: Tensor) -> Tensor:
        """Map (n, channels, height, width) to (n, *map_shape), which `forward` reduces to features."""
        for block in list(self.layers.children())[:-1]:  # all but the last layer, which reduces the map
            x = block(x)
        return x


def _block(channels: int, filters: int, downsample: str, norm: Norm) -> Block:
    convolution = nn.Conv2d(channels, filters, 3, stride=2 if downsample == "stride" else 1, padding=1)
    return Block(convolution, make_norm(norm, filters, spatial=True), pool=downsample == "pool")


class _MeanOverMap(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class _StatisticsOverMap(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        variance = x.var((2, 3), correction=0)  # not the sample's: a map may be one number
        return torch.cat([x.mean((2, 3)), (variance + _SMALLEST).sqrt()], 1)


_SMALLEST = 1e-5  # variance: the root has no derivative at 0, where a filter sees nothing
_REDUCE: dict[str, type[nn.Module]] = {
    "pool": nn.Flatten,
    "stride": _MeanOverMap,
    "stride_statistics": _StatisticsOverMap,
    "pool_twice": nn.Flatten,
}
