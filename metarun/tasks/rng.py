"""Stateless random numbers: each is a pure function of a key, so the order of requests does not matter.

The numbers are those of SplitMix64 (Steele, Lea, Flood 2014) started at the key. All arithmetic is integer, modulo
2^64 on int64 tensors, which gives the same bits on every device and in any chunking. Keys have shape (...).
"""

import hashlib
import math

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """Return the int64 with the bits of an unsigned 64-bit integer."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Shift in zeros from the left; `>>` alone would repeat the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


def root_key(*words: object) -> int:
    """Return the key of some words, such as a split's name and a seed."""
    digest = hashlib.sha256("|".join(map(str, words)).encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def split_key(key: Tensor | int, index: Tensor | int) -> Tensor:
    """Return one new key for each index (broadcast against the keys): the index-th number that follows the key."""
    return _mix(key + _GOLDEN * (torch.as_tensor(index) + 1))


def random_bits(key: Tensor, count: int) -> Tensor:
    """Return (..., count) int64 numbers, all 64 bits random."""
    return split_key(key[..., None], torch.arange(count, device=key.device))


def uniform(key: Tensor, count: int) -> Tensor:
    """Return (..., count) float64 numbers in [0, 1)."""
    return _shift_right(random_bits(key, count), 11).double() * 2.0**-53


def as_normal(uniform: Tensor) -> Tensor:
    """Turn float64 numbers in [0, 1) into standard normal ones, by the inverse of the distribution function."""
    return math.sqrt(2) * (2 * uniform - 1 + 2.0**-53).erfinv()  # shifted by half a step, so that 0 is not infinity


def choose(key: Tensor, population: Tensor, count: int, used: Tensor | None = None) -> Tensor:
    """Draw `count` different integers from 0 to population - 1, in random order, each ordered draw equally likely.

    Floyd's algorithm (Bentley and Floyd 1987) finds the set in `count` steps for any population size; sorting it by
    random numbers puts it in random order.

    Args:
        key: (...) int64.
        population: (...) int64, each at least `count`, or `used`, and below 2^31.
        count: number of draws.
        used: (...) int64 how many of them are wanted, at most `count`; the others are -1 and last. None: all.

    Returns:
        (..., count) int64.
    """
    draws = _shift_right(random_bits(split_key(key, 0), count), 32)
    chosen = torch.full((*key.shape, count), -1, dtype=torch.int64, device=key.device)
    for j in range(count):
        last = population - (count if used is None else used) + j
        candidate = _shift_right(draws[..., j] * (last + 1), 32)  # in 0..last; the bias is below population / 2^32
        taken = (chosen == candidate[..., None]).any(-1)
        drawn = torch.where(taken, last, candidate)
        chosen[..., j] = drawn if used is None else drawn.where(j < used, -1)
    order = random_bits(split_key(key, 1), count)
    if used is not None:
        order = order.masked_fill(chosen < 0, torch.iinfo(torch.int64).max)
    return chosen.gather(-1, order.argsort(dim=-1, stable=True))
