"""The robots of gymnasium that tasks are made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

RobotName = Literal["halfcheetah", "ant"]
Goal = Literal["direction", "velocity", "heading"]


@dataclass(frozen=True)
class Robot:
    """A robot, and what it can be asked for.

    Args:
        file: of its model in gymnasium, without the ending.
        positions: how many the state has.
        velocities: likewise.
        controls: likewise.
        hidden: positions that are not observed: where it is on the floor.
        goals: that it can have.
        heights: of the torso, in metres; a trajectory ends outside of them. None: any.
        bonus: reward of each step.
    """

    file: str
    positions: int
    velocities: int
    controls: int
    hidden: int
    goals: tuple[Goal, ...]
    heights: tuple[float, float] | None = None
    bonus: float = 0.0


# The heights and the bonus are those of rllab/envs/mujoco/ant_env_rand_direc.py in cbfinn/maml_rl.
ROBOTS: dict[RobotName, Robot] = {
    "halfcheetah": Robot("half_cheetah", 9, 9, 6, 1, ("direction", "velocity")),
    "ant": Robot("ant", 15, 14, 8, 2, ("direction", "heading"), (0.2, 1.0), 0.05),
}


def asked_for(goal: Goal, parameters: Sequence[float]) -> str:
    """Say what a robot should do, from what `Locomotion.parameters` returns for a task."""
    if goal == "velocity":
        return f"run at {parameters[0]:.2f} m/s"
    if goal == "heading":
        return f"run at {math.degrees(math.atan2(parameters[1], parameters[0])):.0f}° from forward"
    return "run forward" if parameters[0] > 0 else "run backward"
