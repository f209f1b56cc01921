"""Augmentation of numbers: dropout, of the pixels of a picture or the features of a row, and turns of closed curves."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from metarun.tasks.rng import uniform


@dataclass(frozen=True)
class Dropout:
    """Set numbers to 0; of a picture all channels of a pixel together.

    For pictures as UMTRA changes characters (Khodadadeh et al. 2019, https://arxiv.org/abs/1811.11819, section 4.1).
    Features of tables have mean 0, so that a 0 says nothing.

    Args:
        probability: of each number or pixel, from 0 to 1.
    """

    probability: float

    def __call__(self, x: Tensor, key: Tensor) -> Tensor:
        """Return the changed examples (n, *shape), given keys (n,) of `metarun.tasks.rng`."""
        shape = (1, *x.shape[2:]) if x.dim() > 2 else x.shape[1:]
        dropped = uniform(key, prod(shape)) < self.probability
        return x.masked_fill(dropped.reshape(-1, *shape), 0)


@dataclass(frozen=True)
class Roll:
    """Begin a row of numbers elsewhere: those that leave at one end come back at the other.

    For numbers along a closed curve, such as the distances of an outline from its centre, whose beginning is arbitrary.

    Args:
        largest: numbers by which a row moves at most, to either side.
    """

    largest: int

    def __call__(self, x: Tensor, key: Tensor) -> Tensor:
        """Return (n, features) moved rows, given keys (n,) of `metarun.tasks.rng`."""
        moved = (uniform(key, 1) * (2 * self.largest + 1)).long() - self.largest  # (n, 1)
        source = (torch.arange(x.shape[1], device=x.device) - moved) % x.shape[1]
        return x.gather(1, source)
