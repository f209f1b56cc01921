"""The twelve-layer residual network of few-shot papers, with DropBlock."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.backbone import Backbone, image_shape, initialise_convolutions
from metarun.backbones.norm import Norm, make_norm
from metarun.errors import UserError

WIDTHS = (64, 160, 320, 640)
BLOCK_SIZE = 5  # of DropBlock in the last two blocks; the first two drop single numbers


class ResNet12(Backbone):
    """Four residual blocks of three 3x3 convolutions, 64-160-320-640 channels, each halving the map.

    The architecture of TADAM (Oreshkin et al. 2018, https://arxiv.org/abs/1805.10123) that MetaOptNet (Lee et al. 2019,
    https://arxiv.org/abs/1904.03758) made common: LeakyReLU 0.1, max-pooling, then dropout in the first two blocks and
    DropBlock (Ghiasi et al. 2018, https://arxiv.org/abs/1810.12890) in the last two. The features are the mean over the
    last map, as in RFS.

    Deviations: MetaOptNet anneals `keep_rate` over 40,000 steps, here it is constant; in a map smaller than 5x5, the
    dropped square is as large as the map.

    Args:
        input_shape: (channels, height, width) of an example.
        keep_rate: fraction of numbers kept in training; 1: no dropout, MetaOptNet: 0.9.
        norm: see `make_norm`.

    Raises:
        UserError: the input is not an image or too small, or an argument is out of range.
    """

    def __init__(self, input_shape: tuple[int, ...], keep_rate: float = 0.9, norm: Norm = "batch") -> None:
        super().__init__()
        channels, height, width = image_shape("resnet12", input_shape)
        if min(height, width) < 16:
            raise UserError(
                f"backbone=resnet12 halves images four times but they are {height}x{width}", "use backbone=conv4."
            )
        if not 0 < keep_rate <= 1:
            raise UserError(
                f"backbone.keep_rate={keep_rate} but it must be above 0 and at most 1", "correct `backbone.keep_rate`."
            )
        inputs = (channels, *WIDTHS[:-1])
        self.blocks = nn.Sequential(*[_Block(inputs[i], WIDTHS[i], i >= 2, keep_rate, norm) for i in range(4)])
        self.features = WIDTHS[-1]
        initialise_convolutions(self, "leaky_relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, height, width) to (n, 640)."""
        features: Tensor = self.blocks(x)
        return features.mean((2, 3))


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, squares: bool, keep_rate: float, norm: Norm) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (channels, width, width):
            convolution = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
            layers += [convolution, make_norm(norm, width, spatial=True), nn.LeakyReLU(0.1)]
        self.main = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), make_norm(norm, width, spatial=True))
        self.squares = squares
        self.keep_rate = keep_rate

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.leaky_relu(self.main(x) + self.shortcut(x), 0.1), 2)
        if not self.training or self.keep_rate == 1:
            return x
        return drop_squares(x, self.keep_rate, BLOCK_SIZE) if self.squares else drop_squares(x, self.keep_rate, 1)


def drop_squares(x: Tensor, keep_rate: float, size: int) -> Tensor:
    """DropBlock: set squares of (n, channels, height, width) to zero and rescale the rest to the same mean.

    Args:
        x: feature maps.
        keep_rate: approximate expected fraction that is kept; squares may overlap.
        size: side of a square; 1 is ordinary dropout.
    """
    height, width = x.shape[2:]
    tall, wide = min(size, height), min(size, width)
    corners_possible = (height - tall + 1) * (width - wide + 1)  # of whole squares
    rate = (1 - keep_rate) / (tall * wide) * (height * width) / corners_possible  # equation 1
    # Corners are drawn in the shape of x, so that under vmap each task draws its own.
    corners = (torch.rand_like(x)[..., : height - tall + 1, : width - wide + 1] < rate).to(x.dtype)
    dropped = F.max_pool2d(F.pad(corners, (wide - 1, wide - 1, tall - 1, tall - 1)), (tall, wide), stride=1)
    kept = 1 - dropped  # (n, channels, height, width)
    return x * kept * (kept.numel() / kept.sum().clamp(min=1))
