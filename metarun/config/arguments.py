"""What classes and functions say of their arguments: of which type each is, and which of them name files or folders."""

import builtins
import functools
import inspect
import os
import pathlib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.system.paths import IS_PATH, PathText

MAKING = ("__init__", "__new__")  # the functions that get what an object is made with
NAMES_OF_CODE = ("_target_", "tasksets")  # keys whose value may name a class or a function of the user's own
# Where Hydra's own functions look code up that a config names.
_LOOK_UPS = {f"hydra.utils.get_{kind}" for kind in ("class", "method", "static_method", "object")}


def hints_of(target: Any) -> Mapping[str, Any]:
    """Return the type of each argument that a class or function annotates, by name, as `typing.Annotated` where it is.

    A constructor that passes keywords on takes what the constructors of its base classes take, too.
    """
    found: dict[str, Any] = {}
    for function in _called(target):
        found = {**_hints(function), **found}
    return found


def takes_argument(target: Any, argument: str) -> bool:
    """Whether a class or function has such an argument, of its own or of a base class that it passes keywords on to."""
    return any(argument in _parameters(function) for function in (target, *_called(target)))


def _called(target: Any) -> Iterator[Any]:
    """Yield the functions that get a call's arguments: the constructor, and those of base classes that it may call."""
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isclass(target):
        yield target
        return
    for each in target.__mro__:
        own = [getattr(vars(each)[name], "__func__", vars(each)[name]) for name in MAKING if name in vars(each)]
        yield from own
        if own and not any(map(_passes_keywords_on, own)):
            return


def _passes_keywords_on(function: Any) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in _parameters(function).values())


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _hints(function: Any) -> Mapping[str, Any]:
    """Return the hints of one function, `Any` for each name in them that is known to type checkers only."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # of names in annotations of anybody's
        written = getattr(function, "__annotations__", {})
        names = _Names(getattr(function, "__globals__", {}))
        return {name: _evaluated(hint, names) for name, hint in written.items()}


class _Names(dict[str, Any]):
    """The names that an annotation may use: a module's own, those of paths, and anything else for `Any`."""

    def __missing__(self, name: str) -> Any:
        known = {"Path": Path, "PathLike": os.PathLike, "PathText": PathText, "pathlib": pathlib, "os": os}
        return known.get(name, vars(builtins).get(name, Any))


def _evaluated(hint: Any, names: _Names) -> Any:
    try:
        one = types.SimpleNamespace(__annotations__={"it": hint})
        return typing.get_type_hints(one, globalns={}, localns=names, include_extras=True)["it"]
    except Exception:  # such as an attribute of what only type checkers know
        return Any


def is_path(value: Any, hint: Any) -> bool:
    """Whether a text out of YAML is a path for an argument so annotated, and not one of the words it may be as well."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return IS_PATH in hint.__metadata__ or is_path(value, options[0])
    if origin in (typing.Union, types.UnionType):
        words = [word for option in options if typing.get_origin(option) is typing.Literal for word in option.__args__]
        return value not in words and any(is_path(value, option) for option in options)
    return inspect.isclass(hint) and issubclass(hint, os.PathLike)


def with_paths(node: Any, change: Callable[[str, Any], Any], find: Callable[[str], Any]) -> Any:
    """Return a config's node in which each value that names a file or folder is changed; no file is looked at.

    Args:
        node: plain values; mappings with `_target_` name the classes that say which of their arguments are paths.
        change: given the text and the hint of the argument; returns what is to stand there.
        find: returns the class or function of a `_target_`, None where it is not to be asked.
    """
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [with_paths(item, change, find) for item in node]
    if not isinstance(node, Mapping):
        return node
    target = node.get("_target_")
    found = find(target) if isinstance(target, str) else None
    hints = {} if found is None else hints_of(found)
    return {
        name: _changed(with_paths(value, change, find), hints[name], change)
        if name in hints
        else with_paths(value, change, find)
        for name, value in node.items()
    }


def _changed(value: Any, hint: Any, change: Callable[[str, Any], Any]) -> Any:
    """Change a path, and each path in a list or a mapping of paths."""
    if isinstance(value, str):
        return change(value, hint) if is_path(value, hint) else value
    inner = _inner(hint, Mapping if isinstance(value, Mapping) else Sequence)
    if inner is None or not isinstance(value, Mapping | list):
        return value
    if isinstance(value, Mapping):
        return {name: _changed(item, inner, change) for name, item in value.items()}
    return [_changed(item, inner, change) for item in value]


def _inner(hint: Any, kind: type) -> Any:
    """Return the hint of the entries of a list, or of the values of a mapping; None where it is no such hint."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _inner(options[0], kind)
    if origin in (typing.Union, types.UnionType):
        return next(filter(None, (_inner(option, kind) for option in options)), None)
    if inspect.isclass(origin) and issubclass(origin, kind) and options:
        return options[1] if kind is Mapping and len(options) > 1 else options[0]
    return None


def with_code(node: Any, change: Callable[[str], Any]) -> Any:
    """Return a config's node with each name of code changed: `_target_`, `tasksets`, what Hydra's functions look up."""
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [with_code(item, change) for item in node]
    if not isinstance(node, Mapping):
        return node
    target = node.get("_target_")
    looked_up = ("path",) if isinstance(target, str) and target in _LOOK_UPS else ()
    return {
        name: change(value)
        if isinstance(value, str) and name in (*NAMES_OF_CODE, *looked_up)
        else with_code(value, change)
        for name, value in node.items()
    }
