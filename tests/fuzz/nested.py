"""Paths in nested dictionaries, such as configs and checkpoints."""

from typing import Any

Path = tuple[Any, ...]  # of keys, outermost first


def paths(value: Any, prefix: Path = ()) -> list[Path]:
    """Return every path, including those of dictionaries."""
    inner = [paths(item, (*prefix, key)) for key, item in value.items()] if isinstance(value, dict) else []
    return [*([prefix] if prefix else []), *(path for found in inner for path in found)]


def at(value: Any, path: Path) -> Any:
    """Return the value at a path; None if a dictionary on the way was replaced."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def put(value: Any, path: Path, item: Any) -> None:
    """Set the value at a path, unless a dictionary on the way was replaced."""
    holder = at(value, path[:-1])
    if isinstance(holder, dict):
        holder[path[-1]] = item
