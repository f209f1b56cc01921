"""Families of environments for reinforcement learning: their interface."""

from dataclasses import dataclass
from typing import Any, Protocol

# `Any` below is a torch tensor: nothing in data/ imports torch, and the random numbers belong to the task stream.


@dataclass(frozen=True)
class Continuous:
    """Actions that are vectors of any numbers; the environment clips them.

    Args:
        size: numbers in an action.
    """

    size: int

    @property
    def outputs(self) -> int:
        """How many outputs of a network choose an action: its mean."""
        return self.size

    @property
    def uniforms(self) -> int:
        """Random numbers that an action takes."""
        return self.size


@dataclass(frozen=True)
class Discrete:
    """Actions that are numbered.

    Args:
        count: of actions, which are 0 to count - 1.
    """

    count: int

    @property
    def outputs(self) -> int:
        """How many outputs of a network choose an action: a logit of each."""
        return self.count

    @property
    def uniforms(self) -> int:
        """Random numbers that an action takes."""
        return 1


Actions = Continuous | Discrete


class EnvironmentFamily(Protocol):
    """What tasks of reinforcement learning can be drawn from: every task is one environment.

    An environment is a pure function of its parameters, the actions and random numbers in [0, 1), for T tasks with K
    trajectories each at once. A family may also have:

    - `for_split(split)`, which returns the family that a split draws from, so that splits share no task.
    - `best_action(parameters, observation)`, the action of highest return if the task is known: the oracle.
    - `best_return(parameters)`, (T,) the highest expected return if the task is known, where it is known exactly.
    - `goals_in_plane(parameters)`, (T, 2) in the plane of the observations, so that the report draws trajectories; with
      `in_plane(observations)`, (T, K, H, 2), if these are more than positions.
    - `solved(state, parameters)`, (T, K) 1 for the trajectories that solved their task, else 0, from their last state.
    - `pose(state)`, (T * K, lines, 2, 2) the body of a robot in a plane, as lines between two points in metres, so that
      the report draws it; with `goal_texts(parameters)`, a text for each task, `seconds_per_step`, and `from_above`,
      whether the plane is the floor.
    - `check()`, which says in one line what is drawn.

    Attributes:
        name: what messages call it.
        shape: of an observation.
        actions: their space.
        horizon: steps of a trajectory, at most.
        parameter_count: random numbers that make a task.
        uniforms_per_reset: random numbers that the start of a trajectory takes.
        uniforms_per_step: random numbers that a step takes.
    """

    name: str
    shape: tuple[int, ...]
    actions: Actions
    horizon: int
    parameter_count: int
    uniforms_per_reset: int
    uniforms_per_step: int

    @property
    def hash(self) -> str:
        """A text; families with equal texts have equal tasks."""

    def parameters(self, uniform: Any) -> Any:
        """Turn (T, parameter_count) float64 numbers in [0, 1) into (T, …) parameters of tasks, such as goals."""

    def reset(self, parameters: Any, uniform: Any) -> tuple[Any, Any]:
        """Start K trajectories in each of T tasks.

        Args:
            parameters: (T, …), in the precision of the run.
            uniform: (T, K, uniforms_per_reset) numbers in [0, 1).

        Returns:
            The state, of any type, which `step` gets; and the observations (T, K, *shape).
        """

    def step(self, parameters: Any, state: Any, action: Any, uniform: Any) -> tuple[Any, Any, Any, Any]:
        """Take one step in each trajectory, also in those that have ended, where the result is ignored.

        Args:
            parameters: as of `reset`.
            state: what the previous step returned.
            action: (T, K, size) numbers; of discrete actions (T, K) int64.
            uniform: (T, K, uniforms_per_step) numbers in [0, 1).

        Returns:
            The state, the observations (T, K, *shape), the rewards (T, K), and whether the trajectory has ended
            (T, K) bool.
        """
