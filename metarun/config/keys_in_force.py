"""Which key of a config a value hangs on, and who set it: what a message tells the user to turn."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Origins(Protocol):
    """Where the values of a config come from."""

    def followed(self, key: str) -> str:
        """Return the key that `key` takes its value from: itself, or the end of its interpolations."""

    def told(self, key: str) -> str | None:
        """Return who set a key, such as "set by the command"; None: it is not known."""


_origins: ContextVar[Origins | None] = ContextVar("origins", default=None)


@contextmanager
def told_by(origins: Origins) -> Iterator[None]:
    """Within the block, messages say where values come from."""
    token = _origins.set(origins)
    try:
        yield
    finally:
        _origins.reset(token)


def followed(key: str) -> str:
    """Return the key to turn in order to change `key`."""
    origins = _origins.get()
    return key if origins is None else origins.followed(key)


def set_by(key: str) -> str:
    """Return who set what `key` stands for, in brackets after a space; nothing where it is not known."""
    origins = _origins.get()
    told = None if origins is None else origins.told(origins.followed(key))
    return f" ({told})" if told else ""


def knob(key: str, value: Any) -> str:
    """Return the key to turn, its value and who set it, such as "`train.query` (15, set by the command)"."""
    origins, in_force = _origins.get(), followed(key)
    told = None if origins is None else origins.told(in_force)
    return f"`{in_force}` ({', '.join(filter(None, (str(value), told)))})"


def knobs(values: Mapping[str, Any], between: str) -> str:
    """Join several of them, each told once, such as "`task.shot` (1, the default) or `task.query` (15)"."""
    return between.join(dict.fromkeys(knob(key, value) for key, value in values.items()))
