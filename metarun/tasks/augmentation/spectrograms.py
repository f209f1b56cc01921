"""Augmentation of spectrograms: SpecAugment, and shifts in time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarun.tasks.rng import uniform


@dataclass(frozen=True)
class Masks:
    """Hide random bands of frequency, or stretches of time (Park et al. 2019, https://arxiv.org/abs/1904.08779).

    A mask has a width from 0 to the largest, each equally likely, and any place. What it hides becomes 0, which is the
    mean of the maps. Masks may overlap. The paper's third change, time warping, which helps least, is not implemented.

    Args:
        dim: 2: frequency, 3: time.
        count: masks per map.
        share: of the map that one mask can hide, above 0 and at most 1; rounded down.
    """

    dim: int
    count: int
    share: float

    def __call__(self, x: Tensor, key: Tensor) -> Tensor:
        """Return (n, channels, bands, frames) maps with masks, given keys (n,) of `metarun.tasks.rng`."""
        length = x.shape[self.dim]
        draws = uniform(key, 2 * self.count).reshape(*key.shape, self.count, 2)
        width = (draws[..., :1] * (int(self.share * length) + 1)).long()  # (n, count, 1)
        start = (draws[..., 1:] * (length - width + 1)).long()
        place = torch.arange(length, device=x.device)
        hidden = ((place >= start) & (place < start + width)).any(1)[:, None]  # (n, 1, length)
        return x.masked_fill(hidden[..., None] if self.dim == 2 else hidden[:, :, None], 0)


@dataclass(frozen=True)
class TimeShift:
    """Move a spectrogram in time; its first or last frame is repeated where it leaves a gap.

    When a sound begins in a recording says nothing of what it is (Salamon and Bello 2017,
    https://arxiv.org/abs/1608.04363, who cut training examples at random from longer recordings).

    Args:
        share: of the frames, by which a map moves at most, to either side; rounded down.
    """

    share: float

    def __call__(self, x: Tensor, key: Tensor) -> Tensor:
        """Return (n, channels, bands, frames) moved maps, given keys (n,) of `metarun.tasks.rng`."""
        frames = x.shape[3]
        largest = int(self.share * frames)
        moved = (uniform(key, 1) * (2 * largest + 1)).long() - largest  # (n, 1)
        source = (torch.arange(frames, device=x.device) - moved).clamp(0, frames - 1)  # (n, frames)
        return x.gather(3, source[:, None, None].expand_as(x))
