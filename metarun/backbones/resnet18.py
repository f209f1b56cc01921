"""The eighteen-layer residual network."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.backbone import Backbone, image_shape, initialise_convolutions
from metarun.backbones.norm import Norm, make_norm
from metarun.system.limits import check_one_of

WIDTHS = (64, 128, 256, 512)


class ResNet18(Backbone):
    """Eight residual blocks of two 3x3 convolutions (He et al. 2016, https://arxiv.org/abs/1512.03385).

    As in Chen et al. 2019 (https://arxiv.org/abs/1904.04232): 11.17 million weights without a head. Images of 224
    pixels are read by a 7x7 convolution of stride 2 and max-pooling; for small images, the first convolution is 3x3 of
    stride 1 without pooling.

    Args:
        input_shape: (channels, height, width) of an example.
        first: the first convolution, "7x7" with pooling, or "3x3".
        norm: see `make_norm`.
    """

    def __init__(
        self, input_shape: tuple[int, ...], first: Literal["7x7", "3x3"] = "3x3", norm: Norm = "batch"
    ) -> None:
        super().__init__()
        inputs, *_ = image_shape("resnet18", input_shape)
        check_one_of("backbone.first", first, ("7x7", "3x3"))
        size, stride = (7, 2) if first == "7x7" else (3, 1)
        self.first = nn.Sequential(
            nn.Conv2d(inputs, WIDTHS[0], size, stride=stride, padding=size // 2, bias=False),
            make_norm(norm, WIDTHS[0], spatial=True),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1) if first == "7x7" else nn.Identity(),
        )
        blocks = []
        channels = WIDTHS[0]
        for width in WIDTHS:
            blocks += [_Block(channels, width, 1 if width == WIDTHS[0] else 2, norm), _Block(width, width, 1, norm)]
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.features = WIDTHS[-1]
        initialise_convolutions(self, "relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, height, width) to (n, 512)."""
        features: Tensor = self.blocks(self.first(x))
        return features.mean((2, 3))


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
            make_norm(norm, width, spatial=True),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            make_norm(norm, width, spatial=True),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), make_norm(norm, width, spatial=True)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.main(x) + self.shortcut(x))
