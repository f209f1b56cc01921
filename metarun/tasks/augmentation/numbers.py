"""Augmentation of any numbers: dropout, of the pixels of a picture or the features of a table's row."""

from dataclasses import dataclass
from math import prod

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
