"""Tensors that a forward pass leaves in a network: hidden states, caches, weights computed from others."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Attributes = dict[str, Any]
_MISSING = object()


@contextmanager
def restore_attributes(network: nn.Module) -> Iterator[None]:
    """After the block, restore attributes that held other tensors before; not parameters, buffers or numbers."""
    before = snapshot(network)
    try:
        yield
    finally:
        for part, name, was in changed_tensors(before):
            if was is _MISSING:
                del vars(part)[name]
            else:
                vars(part)[name] = was


def snapshot(network: nn.Module) -> list[tuple[nn.Module, Attributes]]:
    """Return the current attributes of each part."""
    return [(part, dict(vars(part))) for part in network.modules()]


def changed_tensors(before: list[tuple[nn.Module, Attributes]]) -> list[tuple[nn.Module, str, Any]]:
    """Return the attributes that hold other tensors than in `before`, and their old values, `_MISSING` if new."""
    return [
        (part, name, was)
        for part, attributes in before
        for name, value in vars(part).items()
        if (was := attributes.get(name, _MISSING)) is not value and (_contains_tensor(value) or _contains_tensor(was))
    ]


def flatten(value: Any) -> Iterator[Any]:
    """Yield the items of a list, tuple or mapping and of those nested in it; any other value as it is."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from flatten(item)
    else:
        yield value


def _contains_tensor(value: Any) -> bool:
    return any(isinstance(item, Tensor) for item in flatten(value))
