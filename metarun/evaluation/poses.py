"""Where the limbs of a robot are in the first meta-test tasks, before and after adaptation."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from metarun.algorithms import PolicyMethod
from metarun.results.plane_paths import PANELS, TASKS
from metarun.results.robot_poses import FRAMES, RobotPoses
from metarun.rl.stream import EnvironmentStream


@torch.no_grad()
def robot_poses(method: PolicyMethod, stream: EnvironmentStream, steps: int) -> list[RobotPoses]:
    """Return a few poses from one judged trajectory of each of the first tasks; none if the family has no robot."""
    family: Any = stream.family
    if not callable(getattr(family, "pose", None)):
        return []
    method.eval()
    tasks = replace(stream.draw(0, TASKS), query=1)
    frames = np.linspace(0, family.horizon, FRAMES).round().astype(int)
    panels = []
    for step, policy in enumerate(method.adapt(tasks, min(steps, PANELS - 1))):
        states: list[Any] = []
        tasks.judge(policy, step, watch=states.append)
        panels.append(np.stack([family.pose(states[frame]) for frame in frames], 1))
    lines = np.stack(panels, 1).astype(np.float32)  # (T, panels, frames, lines, 2, 2)
    seconds = (frames * family.seconds_per_step).astype(np.float32)
    goals = family.goal_texts(tasks.parameters)
    return [RobotPoses(goal, each, seconds, family.from_above) for goal, each in zip(goals, lines, strict=True)]
