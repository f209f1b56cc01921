"""Families of functions, built-in or a user's: check, draw and hash them."""

import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarun.config.source_code import code_hash
from metarun.data import Sinusoid
from metarun.errors import UserError, describe_exception

FUNCTIONS = ("parameters", "inputs", "outputs")
SAMPLED = 8  # functions in a family's hash, and points of each
GOLDEN = (5**0.5 - 1) / 2  # the fractional parts of its multiples fill [0, 1) evenly


def check_family(family: Any) -> None:
    """Check that an object has the interface of `metarun.data.Sinusoid`.

    Raises:
        UserError: an attribute is missing or has the wrong type.
    """
    name = type(family).__name__
    missing = [each for each in FUNCTIONS if not callable(getattr(family, each, None))]
    missing += [each for each in ("name", "shape", "parameter_count", "hash") if not hasattr(family, each)]
    if missing:
        raise UserError(
            f"{name} is not a family of functions: it has no {', '.join(missing)}",
            "add what metarun.data.Sinusoid has, or return a metarun.data.ClassDataset from load().",
        )
    if tuple(family.shape) != (1,):
        raise UserError(
            f"{name}.shape is {tuple(family.shape)} but functions map one number to one number", "set it to (1,)."
        )
    count = family.parameter_count
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UserError(f"{name}.parameter_count is {count!r} but it must be an integer of at least 1", "fix it.")
    for attribute in ("name", "hash"):
        if not isinstance(getattr(family, attribute), str):
            kind = type(getattr(family, attribute)).__name__
            raise UserError(f"{name}.{attribute} is of type {kind} but it must be a string", "fix it.")


def draw(family: Any, parameter_draws: Tensor, point_draws: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points (tasks, points, 1) and values (tasks, points, 1) of functions of a family.

    Args:
        family: see `metarun.data.Sinusoid`.
        parameter_draws: (tasks, parameter_count) in [0, 1).
        point_draws: (tasks, points) in [0, 1).

    Raises:
        UserError: the family returns the wrong type or shape.
    """
    parameters = _checked(family, "parameters", family.parameters(parameter_draws), parameter_draws)
    x = _checked(family, "inputs", family.inputs(point_draws), point_draws)[..., None]
    return x, _checked(family, "outputs", family.outputs(parameters[:, None], x), x)


def check_functions(family: Any, parameter_draws: Tensor, point_draws: Tensor) -> None:
    """Check a few functions of a family; the arguments are those of `draw`.

    Raises:
        UserError: the family fails on them, or returns the wrong type or shape, or values that are not finite.
    """
    try:
        drawn = draw(family, parameter_draws, point_draws)
    except UserError:
        raise
    except Exception as error:
        if is_builtin(family):
            raise
        raise UserError(describe_exception(f"{type(family).__name__} cannot draw a function", error)) from error
    for what, values in zip(("inputs", "outputs"), drawn, strict=True):
        if not values.isfinite().all():
            raise UserError(
                f"{type(family).__name__}.{what}() returns a number that is not finite",
                "fix it, or the ranges that it draws from.",
            )


def _checked(family: Any, what: str, values: Any, like: Tensor) -> Tensor:
    name = f"{type(family).__name__}.{what}()"
    if not isinstance(values, Tensor):
        raise UserError(f"{name} returns a {type(values).__name__} but it must return a tensor.")
    if values.shape != like.shape:
        raise UserError(f"{name} returns shape {tuple(values.shape)} but it must return {tuple(like.shape)}.")
    return values


def is_builtin(instance: object) -> bool:
    """Whether an object's class is part of metarun."""
    return type(instance).__module__.partition(".")[0] == "metarun"


def family_hash(family: Sinusoid) -> str:
    """Return a SHA-256: families with equal hashes have equal tasks.

    Built-in families define their own. For others it also covers the code, the attributes and the values of some
    functions, because a subclass inherits the hash of its parent.
    """
    if is_builtin(family):
        return family.hash
    kind = type(family)
    digest = hashlib.sha256(f"{family.hash}|{kind.__module__}.{kind.__qualname__}|".encode())
    digest.update((code_hash(kind) or _source(kind)).encode())
    _add(digest, getattr(family, "__dict__", {}), [])
    digest.update(_some_values(family).encode())
    return digest.hexdigest()


def _some_values(family: Sinusoid) -> str:
    """Return points and values of a few functions, rounded so that all machines agree."""
    steps = torch.arange(1, SAMPLED * (family.parameter_count + SAMPLED) + 1, dtype=torch.float64) * GOLDEN % 1
    parameter_draws, point_draws = steps[: -SAMPLED * SAMPLED], steps[-SAMPLED * SAMPLED :]
    drawn = draw(family, parameter_draws.reshape(SAMPLED, -1), point_draws.reshape(SAMPLED, SAMPLED))
    return " ".join(f"{value:.6g}" for values in drawn for value in values.flatten().tolist())


def _source(kind: type) -> str:
    """Return the source of a class whose file cannot be hashed, such as one in a script."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _add(digest: Any, value: Any, parents: list[object]) -> None:
    """Add the content of a value to a digest: arrays as bytes, objects by their attributes or their pickle state."""
    digest.update(f"|{type(value).__qualname__}:".encode())
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy() if value.dtype != torch.bfloat16 else value.detach().float().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, str | bytes | int | float | complex | np.generic | None):
        digest.update(repr(value).encode())
    elif not any(value is each for each in parents):
        for key, item in _parts(value):
            digest.update(f"|{key!r}".encode())
            _add(digest, item, [*parents, value])


def _parts(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return sorted(value.items(), key=lambda item: repr(item[0]))
    if isinstance(value, list | tuple | np.ndarray):
        return list(enumerate(value))
    if isinstance(value, set | frozenset):
        return list(enumerate(sorted(value, key=repr)))
    if inspect.isclass(value) or inspect.isbuiltin(value):
        return [("name", f"{value.__module__}.{value.__qualname__}")]
    if inspect.isfunction(value):
        held = [cell.cell_contents for cell in value.__closure__ or () if cell.cell_contents is not value]
        code = code_hash(value) or value.__code__.co_code
        return [
            ("name", value.__qualname__),
            ("code", code),
            ("held", [held, value.__defaults__, value.__kwdefaults__]),
        ]
    if inspect.ismethod(value):
        return [("of", value.__self__), ("function", value.__func__)]
    if attributes := getattr(value, "__dict__", None):
        return sorted(attributes.items())
    try:
        return list(enumerate(value.__reduce_ex__(4)))  # objects with slots or written in C
    except Exception:  # in a user's code; the drawn values still cover it
        return []
