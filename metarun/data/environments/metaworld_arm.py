"""Environments of Meta-World: many trajectories of one, which share its model."""

import pickle
from collections.abc import Sequence
from copy import copy
from functools import cache, lru_cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.data.environments.simulator import without_warnings
from metarun.errors import UserError

SIZE, CONTROLS = 39, 4  # numbers in an observation and an action of each environment
LONGEST = 500  # steps of a trajectory
REMEMBERED = 1_000  # starts of trajectories that are kept

Array = NDArray[np.float64]


class Trajectory:
    """A trajectory in one of Meta-World's environments.

    A copy of the environment has a state of its own, of the simulation and of the reward, and shares the model, which
    is large. Goals differ in where the model's bodies are; that is restored before each step.

    Args:
        environment: of Meta-World, to copy.
        bodies: (n, 3) where its model's bodies are.
        sites: (n, 3) where its marks are.
    """

    def __init__(self, environment: Any, bodies: Array, sites: Array) -> None:
        own = object.__new__(type(environment))
        for key, value in vars(environment).items():
            own.__dict__[key] = value.copy() if isinstance(value, np.ndarray) else value
        own.__dict__["data"] = copy(environment.data)
        self.environment, self.bodies, self.sites = own, bodies, sites

    def copy(self) -> "Trajectory":
        """Return another trajectory, which continues from here."""
        return Trajectory(self.environment, self.bodies, self.sites)

    def start(self, seed: int) -> Array:
        """Draw a goal and go to the start; return the observation."""
        own = self.environment
        self._place()
        own.set_task(_any_goal(type(own)))
        own._freeze_rand_vec, own.seeded_rand_vec = False, True  # draw the goal by the seed
        own.seed(seed)
        observation: Array = own.reset()[0]
        self.bodies, self.sites = own.model.body_pos.copy(), own.model.site_pos.copy()
        return observation

    def step(self, action: Array) -> tuple[Array, float, bool]:
        """Take a step; return the observation, the reward and whether the task is solved in the new state."""
        self._place()
        observation, reward, _, _, more = self.environment.step(action)
        return observation, float(reward), bool(more["success"])

    def _place(self) -> None:
        self.environment.model.body_pos[:], self.environment.model.site_pos[:] = self.bodies, self.sites


@cache
def model(environment: str) -> Trajectory:
    """Return an environment by its name, with its model, before it has a goal; one for the process."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    made = ALL_V3_ENVIRONMENTS[environment]()
    return Trajectory(made, made.model.body_pos.copy(), made.model.site_pos.copy())


@lru_cache(maxsize=REMEMBERED)
def start(environment: str, goal: int) -> tuple[Trajectory, Array]:
    """Return the start of all trajectories with a goal, by its number, and the observation there."""
    trajectory = model(environment).copy()
    with without_warnings():
        observation = trajectory.start(goal)
    return trajectory, observation


def advance(trajectories: Sequence[Trajectory], actions: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Take a step in each trajectory.

    Args:
        trajectories: n, which move.
        actions: (n, 4), finite.

    Returns:
        The observations (n, 39), the rewards (n,), and which tasks are solved in the new states (n,).
    """
    with without_warnings():
        found = [each.step(action) for each, action in zip(trajectories, actions, strict=True)]
    observations, rewards, solved = zip(*found, strict=True)
    return np.stack(observations), np.array(rewards), np.array(solved)


def environments() -> tuple[str, ...]:
    """Return the names of all environments."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    return tuple(ALL_V3_ENVIRONMENTS)


def of_ml10() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the environments of meta-train and of meta-test of ML10."""
    from metaworld.env_dict import ML10_V3

    return tuple(ML10_V3["train"]), tuple(ML10_V3["test"])


def is_missing() -> bool:
    """Whether Meta-World is not installed."""
    return find_spec("metaworld") is None


def check_installed() -> None:
    """Raise a UserError if Meta-World is not installed."""
    if is_missing():
        raise UserError(
            "Meta-World's environments need metaworld, with the version of MuJoCo that it was made for",
            "pip install 'metarun[metaworld]' in an environment of its own.",
        )


def versions() -> str:
    """Return the versions of Meta-World and MuJoCo, on which the bits of a trajectory depend."""
    return f"Meta-World {metadata.version('metaworld')}, MuJoCo {metadata.version('mujoco')}"


def _any_goal(environment: type) -> Any:
    """Return a task of Meta-World with an environment whose goal is drawn at the next reset."""
    from metaworld import Task

    task = {"env_cls": environment, "rand_vec": None, "partially_observable": True}
    return Task(environment.__name__, pickle.dumps(task))
