"""Families of functions, built-in or a user's: check, draw and hash them."""

import hashlib
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarun.config.source_code import code_hash
from metarun.data import FunctionFamily, Split
from metarun.errors import UserError, describe_exception
from metarun.tasks.rng import as_normal

FUNCTIONS = ("parameters", "inputs", "outputs")
OPTIONAL_COUNTS = ("output_count", "normals_per_point")
SAMPLED = 8  # functions in a family's hash, and points of each
GOLDEN = (5**0.5 - 1) / 2  # the fractional parts of its multiples fill [0, 1) evenly


def check_family(family: Any) -> None:
    """Check that an object has the interface of `metarun.data.FunctionFamily`.

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
    shape = family.shape
    if not isinstance(shape, list | tuple) or len(shape) != 1 or not _is_count(shape[0]):
        raise UserError(f"{name}.shape is {shape} but a point of a function is (inputs,) numbers", "set it to (1,).")
    for attribute in ("parameter_count", *(each for each in OPTIONAL_COUNTS if hasattr(family, each))):
        count = getattr(family, attribute)
        if not _is_count(count):
            raise UserError(f"{name}.{attribute} is {count!r} but it must be an integer of at least 1", "fix it.")
    noise = support_noise(family)
    if not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise UserError(f"{name}.support_noise is {noise!r} but it must be a number of at least 0", "fix it.")
    for attribute in ("name", "hash"):
        if not isinstance(getattr(family, attribute), str):
            kind = type(getattr(family, attribute)).__name__
            raise UserError(f"{name}.{attribute} is of type {kind} but it must be a string", "fix it.")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def output_count(family: Any) -> int:
    """Return how many numbers a function of a family returns."""
    return getattr(family, "output_count", 1)


def support_noise(family: Any) -> float:
    """Return the standard deviation of what is added to the targets of support sets."""
    return getattr(family, "support_noise", 0.0)


def family_of(family: Any, split: Split) -> Any:
    """Return the family that a split draws from.

    Raises:
        UserError: it is not a family, or a user's code fails.
    """
    if not callable(getattr(family, "for_split", None)):
        return family
    try:
        found = family.for_split(split)
    except Exception as error:
        if is_builtin(family):
            raise
        raise UserError(describe_exception(f"{type(family).__name__} has no functions for {split}", error)) from error
    check_family(found)
    return found


@dataclass(frozen=True)
class Draws:
    """Random numbers that functions are made of.

    Args:
        parameters: (tasks, parameter_count) in [0, 1).
        points: (tasks, points, inputs) in [0, 1).
        normals: (tasks, points, normals_per_point) standard normal.
    """

    parameters: Tensor
    points: Tensor
    normals: Tensor


def numbers_per_point(family: Any) -> tuple[int, int]:
    """Return how many uniform and how many normal numbers each point takes."""
    return family.shape[0], getattr(family, "normals_per_point", 0)


def draw(family: Any, draws: Draws) -> tuple[Tensor, Tensor]:
    """Return the points (tasks, points, inputs) and values (tasks, points, outputs) of functions of a family."""
    parameters = _checked(family, "parameters", family.parameters(draws.parameters), draws.parameters.shape)
    points = draws.points[..., 0] if family.shape[0] == 1 else draws.points
    x = _checked(family, "inputs", family.inputs(points), points.shape).reshape(draws.points.shape)
    normals = (draws.normals,) if draws.normals.shape[-1] else ()
    values = family.outputs(parameters[:, None], x, *normals)
    return x, _checked(family, "outputs", values, (*x.shape[:-1], output_count(family)))


def check_functions(family: Any, draws: Draws) -> None:
    """Check a few functions of a family.

    Raises:
        UserError: the family fails on them, or returns the wrong type or shape, or values that are not finite.
    """
    with blaming(f"{type(family).__name__} cannot draw a function", family):
        drawn = draw(family, draws)
    for what, values in zip(("inputs", "outputs"), drawn, strict=True):
        if not values.isfinite().all():
            raise UserError(
                f"{type(family).__name__}.{what}() returns a number that is not finite",
                "fix it, or the ranges that it draws from.",
            )


def _checked(family: Any, what: str, values: Any, shape: Sequence[int]) -> Tensor:
    name = f"{type(family).__name__}.{what}()"
    if not isinstance(values, Tensor):
        raise UserError(f"{name} returns a {type(values).__name__} but it must return a tensor.")
    if values.shape != tuple(shape):
        raise UserError(f"{name} returns shape {tuple(values.shape)} but it must return {tuple(shape)}.")
    return values


@contextmanager
def blaming(problem: str, family: object) -> Iterator[None]:
    """Turn an error in a user's family into a UserError that names the problem and the error."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_builtin(family):
            raise
        raise UserError(describe_exception(problem, error)) from error


def is_builtin(instance: object) -> bool:
    """Whether an object's class is part of metarun."""
    return type(instance).__module__.partition(".")[0] == "metarun"


def family_hash(family: FunctionFamily) -> str:
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


def _some_values(family: FunctionFamily) -> str:
    """Return points and values of a few functions, rounded so that all machines agree."""
    sizes = (family.parameter_count, *(SAMPLED * each for each in numbers_per_point(family)))
    steps = torch.arange(1, SAMPLED * sum(sizes) + 1, dtype=torch.float64) * GOLDEN % 1
    parameters, points, normals = torch.split(steps, [SAMPLED * size for size in sizes])
    made = Draws(
        parameters.reshape(SAMPLED, -1),
        points.reshape(SAMPLED, SAMPLED, -1),
        as_normal(normals).reshape(SAMPLED, SAMPLED, sizes[2] // SAMPLED),
    )
    drawn = draw(family, made)
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
