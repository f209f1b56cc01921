"""Augmentation of pictures: crops, flips, turns and colour jitter, each picture by its own random numbers.

All take pictures (n, channels, height, width) of floats from 0 to 1 and keys (n,) of `metarun.tasks.rng`.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from metarun.system.inputs import to_device
from metarun.tasks.rng import split_key, uniform

ATTEMPTS = 10  # of a resized crop to fit into the picture, as torchvision makes
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R 601-2)


@dataclass(frozen=True)
class Crop:
    """Pad with black, then cut out a random part of the picture's size; torchvision's `RandomCrop(size, padding)`.

    Args:
        padding: pixels on each side; below 1, a share of the picture's longer side, rounded up.
    """

    padding: float

    def __call__(self, x: Tensor, key: Tensor) -> Tensor:
        """Return the changed pictures."""
        share = round(self.padding * max(x.shape[2:]), 6)  # not 8.000000001 of 84
        padding = int(self.padding) if self.padding >= 1 else math.ceil(share)
        start = (uniform(key, 2) * (2 * padding + 1)).long() - padding  # (n, 2) from the top and from the left
        rows, columns = (start[:, i, None] + torch.arange(x.shape[2 + i], device=x.device) for i in (0, 1))
        inside = [(at >= 0) & (at < size) for at, size in zip((rows, columns), x.shape[2:], strict=True)]
        picked = _pick(x, rows.clamp(0, x.shape[2] - 1), columns.clamp(0, x.shape[3] - 1))
        return picked.where(_along(inside[0], 2) & _along(inside[1], 3), 0)


@dataclass(frozen=True)
class ResizedCrop:
    """Cut out a random part and enlarge it to the picture's size; torchvision's `RandomResizedCrop`.

    Args:
        smallest: part of the picture's area.
        largest: part of the picture's area.
        ratio: the part's width is from `1 / ratio` to `ratio` times its height.
    """

    smallest: float
    largest: float
    ratio: float = 4 / 3

    def __call__(self, x: Tensor, key: Tensor) -> Tensor:
        """Return the changed pictures, interpolated bilinearly."""
        height, width = x.shape[2:]
        tall, wide = self._sizes(height, width, split_key(key, 0))
        free = torch.stack([height - tall, width - wide], 1) + 1
        start = (uniform(split_key(key, 1), 2) * free).long()
        return _enlarge(_enlarge(x, start[:, 0], tall, 2), start[:, 1], wide, 3)

    def _sizes(self, height: int, width: int, key: Tensor) -> tuple[Tensor, Tensor]:
        """Return (n,) heights and widths: of the first attempt that fits, or of the whole picture."""
        area, shape = uniform(key, 2 * ATTEMPTS).chunk(2, -1)
        area = (self.smallest + (self.largest - self.smallest) * area) * height * width
        ratio = torch.exp((2 * shape - 1) * math.log(self.ratio))
        tall, wide = (area / ratio).sqrt().round().long(), (area * ratio).sqrt().round().long()
        fits = (tall > 0) & (tall <= height) & (wide > 0) & (wide <= width)
        first, fitting = fits.int().argmax(1, keepdim=True), fits.any(1)
        return (tall.gather(1, first)[:, 0].where(fitting, height), wide.gather(1, first)[:, 0].where(fitting, width))


@dataclass(frozen=True)
class Affine:
    """Turn, stretch and shear around the centre, interpolated bilinearly; outside is black.

    Args:
        degrees: largest angle, to either side.
        stretch: height and width are multiplied by `1 - stretch` to `1 + stretch`, and the shear is up to `stretch`.
    """

    degrees: float
    stretch: float

    def __call__(self, x: Tensor, key: Tensor) -> Tensor:
        """Return the changed pictures."""
        draws = 2 * uniform(key, 4) - 1  # (n, 4) in [-1, 1): angle, shear, width, height
        angle, shear = draws[:, 0] * math.radians(self.degrees), draws[:, 1] * self.stretch
        wide, tall = (1 + draws[:, 2:] * self.stretch).reciprocal().unbind(1)  # from the new picture to the old one
        sine, cosine, none = angle.sin(), angle.cos(), torch.zeros_like(angle)
        rows = [wide * cosine, wide * (shear * cosine - sine), none, tall * sine, tall * (shear * sine + cosine), none]
        grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3).to(x.dtype), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)


@dataclass(frozen=True)
class Flip:
    """Mirror left and right; of a row, the order of its numbers.

    Args:
        probability: from 0 to 1.
    """

    probability: float

    def __call__(self, x: Tensor, key: Tensor) -> Tensor:
        """Return the changed pictures, or rows (n, features)."""
        flipped = uniform(key, 1) < self.probability  # (n, 1)
        return torch.where(flipped.view(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)


@dataclass(frozen=True)
class Jitter:
    """Change brightness, contrast and saturation, in random order; torchvision's `ColorJitter`.

    A grey picture has no saturation.

    Args:
        strength: each factor is from `1 - strength` (at least 0) to `1 + strength`.
    """

    strength: float

    def __call__(self, x: Tensor, key: Tensor) -> Tensor:
        """Return the changed pictures."""
        order = uniform(split_key(key, 0), 3).argsort(-1)  # (n, 3)
        low = max(0.0, 1 - self.strength)
        factors = low + (1 + self.strength - low) * uniform(split_key(key, 1), 3)
        for place in range(3):
            x = _blend(x, order[:, place], factors[:, place].to(x.dtype))
        return x


BRIGHTNESS, CONTRAST, SATURATION = range(3)


def _blend(x: Tensor, change: Tensor, factor: Tensor) -> Tensor:
    """Move each picture away from, or towards, black, its mean grey or its grey version.

    Args:
        x: (n, channels, height, width).
        change: (n,) BRIGHTNESS, CONTRAST or SATURATION.
        factor: (n,) 1 changes nothing, 0 gives what it is moved towards.
    """
    change, factor = change[:, None, None, None], factor[:, None, None, None]
    luma = to_device(torch.tensor(LUMA, dtype=x.dtype), x.device)[:, None, None]
    grey = x if x.shape[1] == 1 else (x * luma).sum(1, keepdim=True)
    towards = torch.where(change == CONTRAST, grey.mean((2, 3), keepdim=True), grey)
    towards = torch.where(change == BRIGHTNESS, 0.0, towards)
    return (factor * x + (1 - factor) * towards).clamp(0, 1)


def _pick(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return (n, channels, rows, columns) the pixels of each picture in its rows (n, rows) and columns (n, columns)."""
    pictures = torch.arange(len(x), device=x.device)[:, None, None, None]
    channels = torch.arange(x.shape[1], device=x.device)[:, None, None]
    return x[pictures, channels, rows[:, None, :, None], columns[:, None, None, :]]


def _enlarge(x: Tensor, start: Tensor, length: Tensor, dim: int) -> Tensor:
    """Stretch a part of each picture to the whole size along one dimension, without a look at what is beside it.

    Args:
        x: (n, channels, height, width).
        start: (n,) first row or column of the part.
        length: (n,) its rows or columns.
        dim: 2: rows, 3: columns.
    """
    size = x.shape[dim]
    centres = (torch.arange(size, device=x.device, dtype=torch.float64) + 0.5) / size
    place = (centres * length[:, None] - 0.5).clamp(min=0)  # (n, size) in the part
    before = place.long()
    after = torch.minimum(before + 1, length[:, None] - 1)
    weight = _along((place - before).to(x.dtype), dim)
    one, other = (x.gather(dim, _along(start[:, None] + at, dim).expand_as(x)) for at in (before, after))
    return one + (other - one) * weight


def _along(values: Tensor, dim: int) -> Tensor:
    """Return (n, size) as (n, 1, size, 1) for rows or (n, 1, 1, size) for columns."""
    return values[:, None, :, None] if dim == 2 else values[:, None, None, :]
