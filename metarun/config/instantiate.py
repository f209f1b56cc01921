"""Build an object from a config node with a `_target_`, and report each mistake in one sentence."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import InstantiationException

from metarun.config.arguments import accepts_argument, map_paths, parameters, type_hints
from metarun.errors import UserError, did_you_mean, reason_of
from metarun.system.paths import IS_PATH, resolve_path


def build(key: str, node: Mapping[str, Any], **given: Any) -> Any:
    """Call the class that `node` names with the node's other keys and `given`.

    Args:
        key: the node's place in the config, for messages: "algo", "data", "backbone".
        node: resolved, plain values.
        given: arguments that cannot be written in YAML, such as the backbone.

    Raises:
        UserError: there is no such class, or an argument is unknown, missing or of the wrong type.
    """
    target = _target(key, node)
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    _check_arguments(key, target, {**arguments, **given}, arguments)
    for name, nested in _own_nested(arguments):
        written = {argument: value for argument, value in nested.items() if argument != "_target_"}
        _check_arguments(f"{key}.{name}", _target(f"{key}.{name}", nested), written, written)
    # Hydra would convert tuples in `given` to lists, so it only gets the written values.
    try:
        make = hydra.utils.instantiate({**map_paths(node, _resolved, _class_of), "_partial_": True}, _convert_="all")
    except InstantiationException as error:  # of a nested class, such as backbone.module
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from error
        where, cause = " ".join(str(error).partition(", set env var")[0].split()), str(_first_cause(error))
        reason = where if cause in where else f"{where}: {cause.rstrip('.')}."
        raise UserError(f"`{key}` cannot be built: {reason}") from error
    return make(**given)


def _own_nested(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the nodes of metarun's classes in mappings of the arguments, such as the data sets of a mixture."""
    for name, value in arguments.items():
        for inner, node in value.items() if isinstance(value, Mapping) else ():
            if isinstance(node, Mapping) and str(node.get("_target_")).startswith("metarun."):
                yield f"{name}.{inner}", node


def _resolved(path: str, hint: Any) -> str | Path:
    """Resolve a path as the run id does, so that both refer to the same file."""
    resolved = resolve_path(path)
    return str(resolved) if _takes_text(hint) else resolved


def _takes_text(hint: Any) -> bool:
    options = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        return _takes_text(options[0])
    return hint is str or any(_takes_text(option) for option in options)


def _class_of(name: str) -> Any:
    """Return a class of the user; metarun's classes resolve paths themselves and report them as written."""
    return None if name.startswith("metarun.") else import_by_name(name)


def import_by_name(name: Any) -> Any:
    """Import `package.module.Class`; return None if that fails."""
    try:
        return hydra.utils.get_object(name)
    except Exception:  # user code may raise anything; the error is reported when the object is built
        return None


def _first_cause(error: BaseException) -> BaseException:
    """Return the original error; Hydra's message only says where it occurred."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def takes(key: str, node: Mapping[str, Any], argument: str) -> bool:
    """Whether the class that `node` names takes this argument; raises like `build`."""
    return accepts_argument(_target(key, node), argument)


def fits(key: str, node: Mapping[str, Any], argument: str) -> bool:
    """Whether the class that `node` names takes its value of this argument; raises like `build`."""
    return _fits(node[argument], type_hints(_target(key, node)).get(argument, Any))


def _target(key: str, node: Mapping[str, Any]) -> Any:
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise UserError(f"`{key}` does not name a class", f"set `{key}._target_` or choose one with `{key}=…`.")
    name = node["_target_"]
    try:
        found = hydra.utils.get_object(name)
    except Exception as error:
        raise UserError(f"{key}._target_={name} cannot be imported: {reason_of(error.__cause__ or error)}.") from error
    try:
        inspect.signature(found)
    except (TypeError, ValueError) as error:  # not callable, or without a signature
        raise UserError(
            f"{key}._target_={name} is not a class or function with a known signature", "use another one."
        ) from error
    return found


def _check_arguments(key: str, target: Any, arguments: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    known, called = parameters(target), getattr(target, "__name__", type(target).__name__)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    for name in arguments:
        if name not in known and not takes_any:
            raise UserError(
                f"`{key}.{name}` is not a key of {called}, which takes {', '.join(known)}." + did_you_mean(name, known)
            )
    for name, parameter in known.items():
        variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if parameter.default is parameter.empty and not variadic and name not in arguments:
            raise UserError(f"`{key}.{name}` is missing and {called} has no default for it.")
    hints = type_hints(target)
    for name, value in written.items():
        if name in hints and not _fits(value, hints[name]):
            raise UserError(f"{key}.{name}={value!r} is not {_describe(hints[name])}.")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a YAML value fits a type hint; True for types that YAML cannot express."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _fits(value, options[0])
    if hint is Path:
        return isinstance(value, str)
    if origin is typing.Literal:
        return any(type(value) is type(option) and value == option for option in options)  # True == 1, but is not 1
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in options)
    if hint is type(None):
        return value is None
    if hint in (int, float):
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_fits(item, options[1]) for item in value.values())
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return isinstance(value, list | tuple) and all(_fits(item, options[0]) for item in value)
    return True


def _describe(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return "a path" if IS_PATH in hint.__metadata__ else _describe(inner[0])
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_describe, inner))
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return f"a mapping whose values are each {_describe(inner[1])}"
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return f"a list whose entries are each {_describe(inner[0])}"
    names = {
        int: "an integer",
        float: "a number",
        str: "a string",
        Path: "a path",
        bool: "true or false",
        type(None): "null",
    }
    return names.get(hint, str(hint))
