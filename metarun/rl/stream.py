"""Tasks of reinforcement learning: task i is a pure function of the family, the split, the seed and i."""

import hashlib
from typing import Any, NoReturn

import numpy as np
import torch

from metarun.config.key_origins import set_by
from metarun.config.source_code import code_hash
from metarun.data import Split
from metarun.data.environments.family import Actions, EnvironmentFamily
from metarun.data.examples import FloorVectors
from metarun.data.inputs import input_specs
from metarun.errors import UserError
from metarun.rl.tasks import EnvironmentTasks
from metarun.tasks.batch import TaskShape
from metarun.tasks.families import is_builtin
from metarun.tasks.function_stream import check_one_way
from metarun.tasks.rng import root_key, split_key, uniform
from metarun.tasks.source import TaskSource

REQUIRED = ("name", "shape", "actions", "horizon", "parameter_count", "uniforms_per_reset", "uniforms_per_step", "hash")


class EnvironmentStream:
    """Environments of one family; `shape.shot` trajectories for each adaptation step, `shape.query` to judge."""

    available: int | None = None
    floor_vectors: FloorVectors = "raw"

    def __init__(
        self,
        family: EnvironmentFamily,
        split: Split,
        shape: TaskShape,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        if shape.way != 1:
            raise UserError(
                f"way={shape.way}{set_by(shape.key('way'))} but a task of {family.name} is one environment",
                f"set `task=20trajectories`, or `{shape.key('way')}=1`.",
            )
        check_one_way(shape, family.name, "")
        self.shape = shape
        self.family: EnvironmentFamily = family.for_split(split) if hasattr(family, "for_split") else family
        self._key = root_key(split, seed, "environments")
        self._device, self._dtype = device, dtype
        self._identity = f"{environment_hash(family)}|{split}|{shape}|{shape.query}|{self._key}"

    def draw(self, first: int, count: int) -> EnvironmentTasks:
        """Return tasks `first` to `first + count - 1`; drawn in float64, so that every precision sees the same ones."""
        keys = split_key(self._key, torch.arange(first, first + count, device=self._device))
        parameters = self.family.parameters(uniform(keys, self.family.parameter_count))
        return EnvironmentTasks(self.family, parameters.to(self._dtype), ~keys, self.shape.shot, self.shape.query)

    def hash(self, count: int) -> str:
        """Return a SHA-256 over what the first `count` tasks are a pure function of."""
        return hashlib.sha256(f"{self._identity}|{count}".encode()).hexdigest()


class EnvironmentSource(TaskSource):
    """A family of environments, as a source of tasks."""

    kind = "reinforcement learning"

    def __init__(self, family: EnvironmentFamily) -> None:
        check_environment_family(family)
        super().__init__(family, input_specs(np.dtype(np.float32), tuple(family.shape)))
        self.family = family
        self.outputs = family.actions.outputs

    @property
    def actions(self) -> Actions:
        """The space of the actions."""
        return self.family.actions

    @property
    def hash(self) -> str:
        """See `TaskSource`."""
        return environment_hash(self.family)

    def stream(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse to draw support sets and queries.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"data={self.name} has environments to act in, and no examples to learn from or to predict",
            "use it with `metarun train` and a method of reinforcement learning, such as algo=maml_rl.",
        )

    def environments(
        self, split: Split, shape: TaskShape, seed: int, device: torch.device, dtype: torch.dtype
    ) -> EnvironmentStream:
        """Return the stream that draws from a split.

        Raises:
            UserError: the shape is not one of such tasks.
        """
        if shape.smallest is not None:
            raise UserError(f"{shape.sizes} but all tasks of {self.name} have one size", "give numbers, not ranges.")
        return EnvironmentStream(self.family, split, shape, seed, device, dtype)


def is_environment_family(data: Any) -> bool:
    """Whether loaded data has the interface of `EnvironmentFamily`: what no other kind of data has."""
    return callable(getattr(data, "reset", None)) and callable(getattr(data, "step", None))


def check_environment_family(family: Any) -> None:
    """Raise a UserError if an object lacks part of the interface of `EnvironmentFamily`."""
    name = type(family).__name__
    missing = [each for each in REQUIRED if not hasattr(family, each)]
    missing += [each for each in ("parameters",) if not callable(getattr(family, each, None))]
    if missing:
        raise UserError(
            f"{name} is not a family of environments: it has no {', '.join(missing)}",
            "add what metarun.data.Navigation2D has.",
        )
    if not isinstance(family.horizon, int) or family.horizon < 1:
        raise UserError(f"{name}.horizon is {family.horizon!r} but it must be an integer of at least 1", "fix it.")


def environment_hash(family: Any) -> str:
    """Return a SHA-256: families with equal hashes have equal tasks; of a user's family its code is in it too."""
    if is_builtin(family):
        return str(family.hash)
    kind = type(family)
    identity = f"{family.hash}|{kind.__module__}.{kind.__qualname__}|{code_hash(kind)}|{sorted(vars(family).items())}"
    return hashlib.sha256(identity.encode()).hexdigest()
