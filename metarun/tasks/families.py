"""Families of functions, metarun's own and a user's: what one must have, and what its tasks are a pure function of."""

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
SAMPLED = 8  # functions of which so many points are in a family's hash
GOLDEN = (5**0.5 - 1) / 2  # its multiples, but for their whole parts, fill [0, 1) evenly


def check_family(family: Any) -> None:
    """Check that an object is a family as `metarun.data.Sinusoid` is one.

    Raises:
        UserError: something is missing, or of another kind.
    """
    name = type(family).__name__
    lacking = [each for each in FUNCTIONS if not callable(getattr(family, each, None))]
    lacking += [each for each in ("name", "shape", "parameter_count", "hash") if not hasattr(family, each)]
    if lacking:
        raise UserError(
            f"{name} is no family of functions: it lacks {', '.join(lacking)}",
            "give it what metarun.data.Sinusoid has, or let load() return a metarun.data.ClassDataset.",
        )
    if tuple(family.shape) != (1,):
        raise UserError(
            f"{name}.shape is {tuple(family.shape)} but a function takes one number to one number", "set it to (1,)."
        )
    count = family.parameter_count
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UserError(f"{name}.parameter_count is {count!r} but it is a whole number from 1", "correct it.")
    for text in ("name", "hash"):
        if not isinstance(getattr(family, text), str):
            kind = type(getattr(family, text)).__name__
            raise UserError(f"{name}.{text} is of type {kind} but it is a text", "let it return one.")


def draw(family: Any, of_parameters: Tensor, of_points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points (tasks, points, 1) and values (tasks, points, 1) of functions of a family.

    Args:
        family: see `metarun.data.Sinusoid`.
        of_parameters: (tasks, parameter_count) in [0, 1).
        of_points: (tasks, points) in [0, 1).

    Raises:
        UserError: the family returns something of another shape.
    """
    parameters = _of_shape(family, "parameters", family.parameters(of_parameters), of_parameters)
    x = _of_shape(family, "inputs", family.inputs(of_points), of_points)[..., None]
    return x, _of_shape(family, "outputs", family.outputs(parameters[:, None], x), x)


def check_functions(family: Any, of_parameters: Tensor, of_points: Tensor) -> None:
    """Draw a few functions of a family; the arguments are those of `draw`.

    Raises:
        UserError: the family fails on them, or returns something of another shape or that is not finite.
    """
    try:
        drawn = draw(family, of_parameters, of_points)
    except UserError:
        raise
    except Exception as error:
        if is_own(family):
            raise
        raise UserError(describe_exception(f"{type(family).__name__} cannot draw a function", error)) from error
    for what, values in zip(("inputs", "outputs"), drawn, strict=True):
        if not values.isfinite().all():
            raise UserError(
                f"{type(family).__name__}.{what}() returns a number that is not finite",
                "correct it, or the ranges that it draws from.",
            )


def _of_shape(family: Any, what: str, made: Any, wanted: Tensor) -> Tensor:
    name = f"{type(family).__name__}.{what}()"
    if not isinstance(made, Tensor):
        raise UserError(f"{name} returns a {type(made).__name__} but is to return a tensor, as its argument is one.")
    if made.shape != wanted.shape:
        raise UserError(f"{name} returns the shape {tuple(made.shape)} where {tuple(wanted.shape)} is wanted.")
    return made


def is_own(made: object) -> bool:
    """Whether an object's class is one of metarun's own."""
    return type(made).__module__.partition(".")[0] == "metarun"


def family_hash(family: Sinusoid) -> str:
    """Return a SHA-256: families of which it is equal have equal tasks.

    metarun's own say themselves what theirs are. Of others the code is part of it, the attributes, and some functions
    as they are drawn: a subclass inherits the hash of its parent.
    """
    if is_own(family):
        return family.hash
    kind = type(family)
    digest = hashlib.sha256(f"{family.hash}|{kind.__module__}.{kind.__qualname__}|".encode())
    digest.update((code_hash(kind) or _source(kind)).encode())
    _add(digest, getattr(family, "__dict__", {}), [])
    digest.update(_some_values(family).encode())
    return digest.hexdigest()


def _some_values(family: Sinusoid) -> str:
    """Return points and values of a few functions, to the digits in which machines agree."""
    steps = torch.arange(1, SAMPLED * (family.parameter_count + SAMPLED) + 1, dtype=torch.float64) * GOLDEN % 1
    of_parameters, of_points = steps[: -SAMPLED * SAMPLED], steps[-SAMPLED * SAMPLED :]
    drawn = draw(family, of_parameters.reshape(SAMPLED, -1), of_points.reshape(SAMPLED, SAMPLED))
    return " ".join(f"{value:.6g}" for values in drawn for value in values.flatten().tolist())


def _source(kind: type) -> str:
    """Return the text of a class that has no file which could be hashed, such as one of a script."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _add(digest: Any, value: Any, above: list[object]) -> None:
    """Add what a value holds to a digest: arrays by their bytes, objects by what pickle would make them of."""
    digest.update(f"|{type(value).__qualname__}:".encode())
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy() if value.dtype != torch.bfloat16 else value.detach().float().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, str | bytes | int | float | complex | np.generic | None):
        digest.update(repr(value).encode())
    elif not any(value is each for each in above):
        for key, item in _parts(value):
            digest.update(f"|{key!r}".encode())
            _add(digest, item, [*above, value])


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
        return list(enumerate(value.__reduce_ex__(4)))  # what has slots, and what is written in C
    except Exception:  # of anybody's; how it shows is in the values that are drawn
        return []
