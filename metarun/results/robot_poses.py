"""Poses of a robot in a few meta-test tasks, saved for the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.results.array_file import reading_arrays
from metarun.system.atomic_write import write_npz

FRAMES = 6  # of a trajectory, the start and the end included
MAX_UNPACKED_BYTES = 1 << 22
MARGIN = 0.1  # metres around what is drawn
MAX_GOAL = 100  # characters


@dataclass(frozen=True)
class RobotPoses:
    """What a robot did in one task.

    Args:
        goal: what it should do, such as "run forward".
        lines: (panels, frames, lines, 2, 2) the body in a plane, as lines between two points in metres, for the policy
            before adaptation and after each step; NaN after the end of the trajectory.
        seconds: (frames,) when.
        from_above: whether the plane is the floor; else it is upright, with the floor at 0.
    """

    goal: str
    lines: NDArray[np.float32]
    seconds: NDArray[np.float32]
    from_above: bool

    @property
    def note(self) -> str:
        """What a drawing of it shows."""
        seen = "from above" if self.from_above else "from the side"
        return (
            f"one trajectory, seen {seen} at {len(self.seconds)} instants from the start (pale) to "
            f"{self.seconds[-1]:g} seconds later, with a mark at each metre and a line where it starts"
        )

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """What a drawing shows of the plane, in metres: left, right, lower and upper end."""
        low, high = (find(self.lines, axis=(0, 1, 2, 3)).tolist() for find in (np.nanmin, np.nanmax))
        return low[0] - MARGIN, high[0] + MARGIN, (low[1] if self.from_above else 0) - MARGIN, high[1] + MARGIN


def save(path: Path, tasks: Sequence[RobotPoses]) -> None:
    """Write the tasks, which have equal frames."""
    first = tasks[0]
    arrays = {"goals": np.array([task.goal for task in tasks]), "lines": np.stack([task.lines for task in tasks])}
    write_npz(path, {**arrays, "seconds": first.seconds, "from_above": np.array(first.from_above)})


def load(path: Path) -> list[RobotPoses]:
    """Read what `save` wrote.

    Raises:
        UserError: the file is damaged or has another format.
    """
    with reading_arrays(path, MAX_UNPACKED_BYTES) as arrays:
        goals, lines, seconds, above = (arrays[name] for name in ("goals", "lines", "seconds", "from_above"))
        if goals.dtype.kind != "U" or above.dtype != bool or any(a.dtype != np.float32 for a in (lines, seconds)):
            raise ValueError("its arrays have other types")
        if lines.ndim != 6 or lines.shape[-2:] != (2, 2) or not lines.size:
            raise ValueError("its lines have another shape")
        if goals.shape != lines.shape[:1] or seconds.shape != lines.shape[2:3] or above.shape:
            raise ValueError("its arrays do not match")
        if np.isinf(lines).any() or not np.isfinite(lines[:, :, 0]).all() or not np.isfinite(seconds).all():
            raise ValueError("its positions are not numbers")
        if any(len(goal) > MAX_GOAL for goal in goals.tolist()):
            raise ValueError("its goals are too long")
    return [RobotPoses(goal, each, seconds, bool(above)) for goal, each in zip(goals.tolist(), lines, strict=True)]
