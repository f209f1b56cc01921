"""Robots of gymnasium in MuJoCo: many copies at once, each a pure function of its state and its controls."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.system.machine import asked_threads, cores

Array = NDArray[np.float64]


class Simulator:
    """A model of MuJoCo (Todorov et al. 2012), stepped in many copies at once by several threads.

    A state is a vector: the time, the positions and the velocities. All that a step depends on is in it. MuJoCo would
    start its solver at the solution of the step before; here each step starts it anew, so that the bits of a trajectory
    depend neither on the other trajectories nor on the number of threads.

    Args:
        file: of the model, in MuJoCo's XML.

    Attributes:
        rest: (positions,) of the model before anything moves.
        velocities: how many there are.
        timestep: seconds of one step of the simulation.
    """

    def __init__(self, file: Path) -> None:
        import mujoco
        from mujoco.rollout import Rollout

        with without_warnings():
            self._model = mujoco.MjModel.from_xml_path(str(file))
        threads = asked_threads() or cores()  # as many as torch
        self._data = [mujoco.MjData(self._model) for _ in range(threads)]
        self._limbs = np.flatnonzero(self._model.geom_type == mujoco.mjtGeom.mjGEOM_CAPSULE)
        self._rollout = Rollout(nthread=threads if threads > 1 else 0)  # 0: in the thread that asks
        self.rest: Array = self._model.qpos0.copy()
        self.velocities = int(self._model.nv)
        self.timestep = float(self._model.opt.timestep)

    def start(self, positions: Array, velocities: Array) -> Array:
        """Return the states (n, 1 + positions + velocities) at time 0."""
        return np.concatenate([np.zeros((len(positions), 1)), positions, velocities], 1)

    def advance(self, states: Array, controls: Array, steps: int) -> tuple[Array, NDArray[np.bool_]]:
        """Simulate some steps with constant controls.

        Args:
            states: (n, …) as returned by `start` or `advance`.
            controls: (n, controls), finite.
            steps: of the simulation.

        Returns:
            The states after the steps, and which of them are sound (n,) bool. One that is not became unstable on the
            way: MuJoCo found a number that is huge or not finite. Its state is meaningless.
        """
        if not len(states):
            return states, np.ones(0, bool)
        with without_warnings():
            found, _ = self._rollout.rollout(self._model, self._data, states, controls[:, None], nstep=steps)
        following = found[:, -1]
        elapsed = following[:, 0] - states[:, 0]  # MuJoCo resets what became unstable, time included
        sound = np.isclose(elapsed, steps * self.timestep) & np.isfinite(following).all(1)
        return following, sound

    def limbs(self, states: Array) -> Array:
        """Return (n, limbs, 2, 3) the two ends of each capsule of the body, in metres: forward, left and up.

        Args:
            states: (n, …) as returned by `start` or `advance`.
        """
        import mujoco

        found, data = np.empty((len(states), len(self._limbs), 2, 3)), self._data[0]
        half_lengths = self._model.geom_size[self._limbs, 1]
        for state, ends in zip(states, found, strict=True):
            data.qpos[:] = state[1 : 1 + len(self.rest)]
            mujoco.mj_kinematics(self._model, data)
            along = half_lengths[:, None] * data.geom_xmat[self._limbs, 2::3]  # a capsule lies along its z-axis
            ends[:, 0], ends[:, 1] = data.geom_xpos[self._limbs] - along, data.geom_xpos[self._limbs] + along
        return found


@cache
def simulator(robot: str) -> Simulator:
    """Return the simulator of a robot of gymnasium; one for the process.

    Raises:
        UserError: gymnasium or MuJoCo is missing.
    """
    return Simulator(model_file(robot))


def model_file(robot: str) -> Path:
    """Return the file of a robot that gymnasium comes with; neither package is imported.

    Raises:
        UserError: gymnasium or MuJoCo is missing.
    """
    if absent := missing():
        raise UserError(f"robots need {' and '.join(absent)}", "pip install 'metarun[mujoco]'.")
    spec = find_spec("gymnasium")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "envs" / "mujoco" / "assets" / f"{robot}.xml"


def missing() -> list[str]:
    """Return which of the packages that robots need are not installed."""
    return [package for package in ("gymnasium", "mujoco") if find_spec(package) is None]


def version() -> str:
    """Return the version of MuJoCo, on which the bits of a trajectory depend."""
    return metadata.version("mujoco")


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep MuJoCo from printing warnings and writing them to a file in the current folder."""
    import mujoco

    before: Any = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
