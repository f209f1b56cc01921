"""The first meta-test tasks in the plane, for the report: where the policies went before and after adaptation."""

import numpy as np
import torch

from metarun.algorithms import PolicyMethod
from metarun.results.plane_paths import PANELS, POINTS, TASKS, TRAJECTORIES, PlanePaths
from metarun.rl.stream import EnvironmentStream


@torch.no_grad()
def paths_in_plane(method: PolicyMethod, stream: EnvironmentStream, steps: int) -> list[PlanePaths]:
    """Return a few judged trajectories of the first tasks; none if the family is not in the plane."""
    in_plane = getattr(stream.family, "goals_in_plane", None)
    if not callable(in_plane):
        return []
    positions_of = getattr(stream.family, "in_plane", lambda observations: observations)
    method.eval()
    tasks = stream.draw(0, TASKS)
    thinned = -(-stream.family.horizon // POINTS)
    panels = []
    for step, policy in enumerate(method.adapt(tasks, min(steps, PANELS - 1))):
        judged = tasks.judge(policy, step)
        shown = positions_of(judged.observations)[:, :TRAJECTORIES, ::thinned]
        panels.append(shown.where(judged.alive[:, :TRAJECTORIES, ::thinned, None] > 0, torch.nan))
    positions = torch.stack(panels, 1).float().cpu().numpy()  # (T, panels, trajectories, points, 2)
    goals = in_plane(tasks.parameters).float().cpu().numpy()
    kept = [i for i in range(TASKS) if np.isfinite(positions[i]).any((1, 2, 3)).all()]
    return [PlanePaths(goals[i], positions[i]) for i in kept]
