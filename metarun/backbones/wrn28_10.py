"""The wide residual network of 28 layers, ten times as wide."""

from torch import Tensor, nn

from metarun.backbones.backbone import Backbone, image_shape, initialise_convolutions
from metarun.backbones.norm import Norm, make_norm

WIDTHS = (160, 320, 640)
BLOCKS_PER_WIDTH = 4


class WRN28x10(Backbone):
    """WRN-28-10 (Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146), 36.5 million weights.

    Twelve pre-activation blocks in three groups of 160, 320 and 640 channels; the second and third group halve the map.
    The network of LEO (Rusu et al. 2019, https://arxiv.org/abs/1807.05960).

    Args:
        input_shape: (channels, height, width) of an example.
        norm: see `make_norm`.
    """

    def __init__(self, input_shape: tuple[int, ...], norm: Norm = "batch") -> None:
        super().__init__()
        inputs, *_ = image_shape("wrn28_10", input_shape)
        layers: list[nn.Module] = [nn.Conv2d(inputs, 16, 3, padding=1, bias=False)]
        channels = 16
        for width in WIDTHS:
            for i in range(BLOCKS_PER_WIDTH):
                layers.append(_Block(channels, width, 2 if i == 0 and width != WIDTHS[0] else 1, norm))
                channels = width
        self.layers = nn.Sequential(*layers, make_norm(norm, channels, spatial=True), nn.ReLU())
        self.features = channels
        initialise_convolutions(self, "relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, height, width) to (n, 640)."""
        features: Tensor = self.layers(x)
        return features.mean((2, 3))


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.before = nn.Sequential(make_norm(norm, channels, spatial=True), nn.ReLU())
        self.main = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
            make_norm(norm, width, spatial=True),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Conv2d(channels, width, 1, stride=stride, bias=False) if channels != width else None

    def forward(self, x: Tensor) -> Tensor:
        before = self.before(x)
        main: Tensor = self.main(before)
        return main + (x if self.shortcut is None else self.shortcut(before))
