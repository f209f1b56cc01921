"""Type hints of classes and functions: the type of each argument, and which arguments are paths."""

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

CONSTRUCTORS = ("__init__", "__new__")
CODE_KEYS = ("_target_", "tasksets")  # keys whose value may name a class or function of the user
# Hydra's functions that import the code named by `path`.
_LOOK_UPS = {f"hydra.utils.get_{kind}" for kind in ("class", "method", "static_method", "object")}


def type_hints(target: Any) -> Mapping[str, Any]:
    """Return the type hints of a class or function's arguments, by name, with `typing.Annotated` kept.

    A constructor with `**kwargs` also takes the arguments of its base classes' constructors.
    """
    found: dict[str, Any] = {}
    for function in _called(target):
        found = {**_hints(function), **found}
    return found


def parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or function; in place of `**options: Unpack[Options]` those that it names."""
    found = dict(inspect.signature(target).parameters)
    hints = type_hints(target)
    for name in [name for name in found if typing.get_origin(hints.get(name)) is typing.Unpack]:
        (options,) = typing.get_args(hints[name])
        del found[name]
        kind = inspect.Parameter.KEYWORD_ONLY
        found |= {key: inspect.Parameter(key, kind, default=None) for key in typing.get_type_hints(options)}
    return found


def accepts_argument(target: Any, argument: str) -> bool:
    """Whether a class or function takes this argument, also through `**kwargs` to a base class."""
    return any(argument in _parameters(function) for function in (target, *_called(target)))


def _called(target: Any) -> Iterator[Any]:
    """Yield the functions that receive a call's arguments: the constructor and those of base classes it may call."""
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isclass(target):
        yield target
        return
    for each in target.__mro__:
        own = [getattr(vars(each)[name], "__func__", vars(each)[name]) for name in CONSTRUCTORS if name in vars(each)]
        yield from own
        kinds = {parameter.kind for function in own for parameter in _parameters(function).values()}
        if own and inspect.Parameter.VAR_KEYWORD not in kinds:  # it passes no keywords on
            return


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _hints(function: Any) -> Mapping[str, Any]:
    """Return the hints of one function, with `Any` for names that only type checkers know."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # user annotations may fail in any way
        written = getattr(function, "__annotations__", {})
        names = _Names(getattr(function, "__globals__", {}))
        return {name: _evaluated(hint, names) for name, hint in written.items()}


class _Names(dict[str, Any]):
    """The names in an annotation: those of its module, path types, and `Any` for everything else."""

    def __missing__(self, name: str) -> Any:
        known = {"Path": Path, "PathLike": os.PathLike, "PathText": PathText, "pathlib": pathlib, "os": os}
        return known.get(name, vars(builtins).get(name, Any))


def _evaluated(hint: Any, names: _Names) -> Any:
    try:
        one = types.SimpleNamespace(__annotations__={"it": hint})
        return typing.get_type_hints(one, globalns={}, localns=names, include_extras=True)["it"]
    except Exception:  # such as an attribute of a name that only type checkers know
        return Any


def is_path(value: Any, hint: Any) -> bool:
    """Whether a text is a path for an argument with this hint, and not one of its literal options."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return IS_PATH in hint.__metadata__ or is_path(value, options[0])
    if origin in (typing.Union, types.UnionType):
        words = [word for option in options if typing.get_origin(option) is typing.Literal for word in option.__args__]
        return value not in words and any(is_path(value, option) for option in options)
    return inspect.isclass(hint) and issubclass(hint, os.PathLike)


def map_paths(node: Any, change: Callable[[str, Any], Any], find: Callable[[str], Any]) -> Any:
    """Return a config node with each path replaced; no file is accessed.

    Args:
        node: plain values; the classes named by `_target_` declare which arguments are paths.
        change: maps the text and the argument's hint to the new value.
        find: returns the class or function of a `_target_`; None to leave its arguments unchanged.
    """
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [map_paths(item, change, find) for item in node]
    if not isinstance(node, Mapping):
        return node
    target = node.get("_target_")
    found = find(target) if isinstance(target, str) else None
    hints = {} if found is None else type_hints(found)
    inner = {name: map_paths(value, change, find) for name, value in node.items()}
    return {name: _changed(value, hints[name], change) if name in hints else value for name, value in inner.items()}


def _changed(value: Any, hint: Any, change: Callable[[str, Any], Any]) -> Any:
    """Replace a path, or each path in a list or mapping."""
    if isinstance(value, str):
        return change(value, hint) if is_path(value, hint) else value
    inner = _inner(hint, Mapping if isinstance(value, Mapping) else Sequence)
    if inner is None or not isinstance(value, Mapping | list):
        return value
    if isinstance(value, Mapping):
        return {name: _changed(item, inner, change) for name, item in value.items()}
    return [_changed(item, inner, change) for item in value]


def _inner(hint: Any, kind: type) -> Any:
    """Return the hint of a list's entries or a mapping's values; None for other hints."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _inner(options[0], kind)
    if origin in (typing.Union, types.UnionType):
        return next(filter(None, (_inner(option, kind) for option in options)), None)
    if inspect.isclass(origin) and issubclass(origin, kind) and options:
        return options[1] if kind is Mapping and len(options) > 1 else options[0]
    return None


def map_code_names(node: Any, change: Callable[[str], Any]) -> Any:
    """Return a config node with each code name replaced: `_target_`, `tasksets`, and what Hydra's functions import."""
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [map_code_names(item, change) for item in node]
    if not isinstance(node, Mapping):
        return node
    target = node.get("_target_")
    looked_up = ("path",) if isinstance(target, str) and target in _LOOK_UPS else ()
    return {
        name: change(value)
        if isinstance(value, str) and name in (*CODE_KEYS, *looked_up)
        else map_code_names(value, change)
        for name, value in node.items()
    }
