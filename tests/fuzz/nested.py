"""Places in dictionaries within dictionaries, such as configs and checkpoints."""

from typing import Any

Path = tuple[Any, ...]  # of keys, from the outermost in


def paths(value: Any, begin: Path = ()) -> list[Path]:
    """Return every place, those that hold dictionaries too."""
    inner = [paths(item, (*begin, key)) for key, item in value.items()] if isinstance(value, dict) else []
    return [*([begin] if begin else []), *(path for found in inner for path in found)]


def at(value: Any, path: Path) -> Any:
    """Return what is at a place; None where a dictionary on the way there is none any more."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def put(value: Any, path: Path, item: Any) -> None:
    """Put something in a place, unless a dictionary on the way there is none any more."""
    holder = at(value, path[:-1])
    if isinstance(holder, dict):
        holder[path[-1]] = item
