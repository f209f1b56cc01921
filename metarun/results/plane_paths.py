"""Trajectories in the plane of a few meta-test tasks, saved for the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.results.array_file import reading_arrays
from metarun.system.atomic_write import write_npz

TASKS = 3
TRAJECTORIES = 5  # of each policy
PANELS = 4  # policies: before adaptation and after the first steps
POINTS = 100  # of a trajectory; longer ones are thinned
MAX_UNPACKED_BYTES = 1 << 22


@dataclass(frozen=True)
class PlanePaths:
    """One task in the plane.

    Args:
        goal: (2,) where trajectories should go.
        positions: (panels, trajectories, points, 2) before adaptation and after each step; NaN after the end.
    """

    goal: NDArray[np.float32]
    positions: NDArray[np.float32]


def save(path: Path, tasks: Sequence[PlanePaths]) -> None:
    """Write the tasks."""
    goals, positions = np.stack([task.goal for task in tasks]), np.stack([task.positions for task in tasks])
    write_npz(path, {"goals": goals.astype(np.float32), "positions": positions.astype(np.float32)})


def load(path: Path) -> list[PlanePaths]:
    """Read what `save` wrote."""
    with reading_arrays(path, MAX_UNPACKED_BYTES) as arrays:
        goals, positions = arrays["goals"], arrays["positions"]
        numbers = all(each.dtype == np.float32 for each in (goals, positions))
        if not numbers or positions.ndim != 5 or positions.shape[-1] != 2 or goals.shape != (len(positions), 2):
            raise ValueError("its arrays do not match")
        known = np.nan_to_num(positions, nan=0.0, posinf=np.inf, neginf=-np.inf)  # NaN is after the end
        if not np.isfinite(goals).all() or not np.isfinite(known).all() or not positions.size:
            raise ValueError("its positions are not numbers")
    return [PlanePaths(goal, each) for goal, each in zip(goals, positions, strict=True)]
