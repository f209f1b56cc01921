"""Tensors that a pass leaves in a network: hidden states, caches, weights computed from others."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Attributes = dict[str, Any]
_NOTHING = object()


@contextmanager
def restore_attributes(network: nn.Module) -> Iterator[None]:
    """After the block, snapshot of the network that hold other tensors than before hold what they did.

    Parameters and buffers are not among them, nor are numbers.
    """
    before = snapshot(network)
    try:
        yield
    finally:
        for part, name, was in changed_tensors(before):
            if was is _NOTHING:
                del vars(part)[name]
            else:
                vars(part)[name] = was


def snapshot(network: nn.Module) -> list[tuple[nn.Module, Attributes]]:
    """Return the snapshot of each part as they are now."""
    return [(part, dict(vars(part))) for part in network.modules()]


def changed_tensors(before: list[tuple[nn.Module, Attributes]]) -> list[tuple[nn.Module, str, Any]]:
    """Return which snapshot hold other tensors than `before`, and what they held; nothing is an object of its own."""
    return [
        (part, name, was)
        for part, snapshot in before
        for name, value in vars(part).items()
        if (was := snapshot.get(name, _NOTHING)) is not value and (_contains_tensor(value) or _contains_tensor(was))
    ]


def flatten(value: Any) -> Iterator[Any]:
    """Yield what is in a list, tuple or mapping, and in those within it; anything else as it is."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from flatten(item)
    else:
        yield value


def _contains_tensor(value: Any) -> bool:
    return any(isinstance(item, Tensor) for item in flatten(value))
