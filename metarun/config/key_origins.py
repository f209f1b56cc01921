"""Find the config key that determines a value and what set it, for error messages."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Origins(Protocol):
    """Where config values come from."""

    def source_key(self, key: str) -> str:
        """Return the key that `key` gets its value from: itself, or the end of its interpolations."""

    def set_by(self, key: str) -> str | None:
        """Return what set a key, such as "set by the command"; None if unknown."""

    def overridden_keys(self) -> list[str]:
        """Return the dotted keys that the command or its sweep sets one by one, sorted."""


_origins: ContextVar[Origins | None] = ContextVar("origins", default=None)


@contextmanager
def using_origins(origins: Origins) -> Iterator[None]:
    """Let messages within the block say where values come from."""
    token = _origins.set(origins)
    try:
        yield
    finally:
        _origins.reset(token)


def source_key(key: str) -> str:
    """Return the key that must be set to change `key`."""
    origins = _origins.get()
    return key if origins is None else origins.source_key(key)


def set_by(key: str) -> str:
    """Return what set the value of `key`, as " (set by the command)"; empty if unknown."""
    origins = _origins.get()
    origin = None if origins is None else origins.set_by(origins.source_key(key))
    return f" ({origin})" if origin else ""


def overridden_keys() -> list[str]:
    """Return the dotted keys that the command or its sweep sets one by one, sorted; none if unknown."""
    origins = _origins.get()
    return [] if origins is None else origins.overridden_keys()


def knob(key: str, value: Any) -> str:
    """Return the key to change, its value and what set it, such as "`train.query` (15, set by the command)"."""
    origins, source = _origins.get(), source_key(key)
    origin = None if origins is None else origins.set_by(source)
    return f"`{source}` ({', '.join(filter(None, (str(value), origin)))})"


def knobs(values: Mapping[str, Any], between: str) -> str:
    """Join several knobs without repetitions, such as "`task.shot` (1, the default) or `task.query` (15)"."""
    return between.join(dict.fromkeys(knob(key, value) for key, value in values.items()))
