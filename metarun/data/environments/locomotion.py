"""Robots that have to run in a direction, or as fast as a goal that they cannot see."""

import hashlib
import logging
import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from metarun.data.environments import simulator
from metarun.data.environments.family import Continuous
from metarun.data.environments.goal_cells import TENTHS, tenth_of
from metarun.data.environments.robots import ROBOTS, Goal, RobotName, asked_for
from metarun.data.examples import Split
from metarun.errors import UserError, counted
from metarun.system.limits import check_data_between

log = logging.getLogger(__name__)

CELLS = 100  # of the range of goals
MAX_HORIZON = 100_000
NOISE = 0.1  # of the positions (uniform) and the velocities (normal) at the start, as in gymnasium
FASTEST = 2.0  # metres per second that can be asked for


class State(NamedTuple):
    """The states of trajectories.

    Args:
        physics: (T * K, …) of the simulator.
        ended: (T * K,) bool; these are not simulated any more.
    """

    physics: NDArray[np.float64]
    ended: NDArray[np.bool_]


class Locomotion:
    """A robot that has to run in a direction or at a speed that only the reward tells; every task is one goal.

    Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", 2017, section 5.3
    (https://arxiv.org/abs/1703.03400). The robots are gymnasium's HalfCheetah-v5 and Ant-v5 (without contact forces):
    the same models, observations, time of a step and noise at the start. The rewards are those of the paper's code
    (cbfinn/maml_rl, rllab/envs/mujoco): the speed in the direction, or the negative difference from the goal speed,
    minus `control_cost` times the sum of the squares of the action. The ant also gets 0.05 a step, and its trajectory
    ends when its torso is lower than 0.2 or higher than 1 metre. Speed is how far the robot's root moved in a step,
    over the time of a step; the paper's code has the centre of mass instead.

    With the goal `direction` there are two tasks, forward and backward, and all splits have both. Speeds (0 to 2 metres
    per second) and headings (any angle) are divided into 100 cells, each of which belongs to one split.

    If a simulation becomes unstable, its trajectory ends with a reward of 0, and a warning says so.

    Args:
        robot: `halfcheetah` or `ant`.
        goal: `direction`, `velocity` (halfcheetah) or `heading` (ant).
        horizon: steps of a trajectory, at most.
        frame_skip: steps of the simulation, of 0.01 seconds each, in one step. gymnasium has 5, the paper's code 1.
        control_cost: weight of the squares of the action.

    Raises:
        UserError: an argument is out of range.
    """

    licence = "gymnasium (MIT) and MuJoCo (Apache 2.0)"
    parameter_count = 2  # a cell of the split, and a place in it
    uniforms_per_step = 0

    def __init__(
        self,
        robot: RobotName = "halfcheetah",
        goal: Goal = "direction",
        horizon: int = 100,
        frame_skip: int = 5,
        control_cost: float = 0.05,
    ) -> None:
        if robot not in ROBOTS:
            raise UserError(f"robot='{robot}' is not one of {', '.join(ROBOTS)}", "correct `data.robot`.")
        body = ROBOTS[robot]
        if goal not in body.goals:
            raise UserError(f"goal='{goal}' is not one of {robot}'s: {', '.join(body.goals)}", "correct `data.goal`.")
        check_data_between("horizon", horizon, 1, MAX_HORIZON)
        check_data_between("frame_skip", frame_skip, 1, MAX_HORIZON)
        if not 0 <= control_cost < math.inf:
            raise UserError(f"control_cost={control_cost} but it must be at least 0", "correct `data.control_cost`.")
        self.robot, self.goal, self.body = robot, goal, body
        self.horizon, self.frame_skip, self.control_cost = horizon, frame_skip, control_cost
        self.shape = (body.positions - body.hidden + body.velocities,)
        self.actions = Continuous(body.controls)
        self.uniforms_per_reset = body.positions + body.velocities
        self.cells = _cells(range(10))

    @property
    def name(self) -> str:
        """The name of the option in conf/data/."""
        return f"{self.robot}_{self.goal}"

    @property
    def summary(self) -> str:
        """What it is."""
        kind = {"direction": "forward or backward", "velocity": "at a hidden speed", "heading": "in a hidden direction"}
        return f"a simulated {self.robot} that has to run {kind[self.goal]}: reinforcement learning"

    @property
    def hash(self) -> str:
        """SHA-256 of the model, MuJoCo's version, and the rules and their settings."""
        model = hashlib.sha256(simulator.model_file(self.body.file).read_bytes()).hexdigest()
        settings = f"{self.horizon}|{self.frame_skip}|{self.control_cost}|{NOISE}|{FASTEST}|{CELLS}"
        rules = f"{model}|{simulator.version()}|{self.body}|{self.goal}|{settings}"
        return hashlib.sha256(rules.encode()).hexdigest()

    def load(self) -> Self:
        """Return itself.

        Raises:
            UserError: gymnasium or MuJoCo is missing.
        """
        simulator.model_file(self.body.file)
        return self

    def where(self) -> str:
        """Where it comes from, or what to install."""
        absent = simulator.missing()
        return "needs pip install 'metarun[mujoco]'" if absent else f"MuJoCo {simulator.version()}, gymnasium's model"

    def check(self) -> str:
        """Say what is drawn.

        Raises:
            UserError: gymnasium or MuJoCo is missing.
        """
        of_splits = {split: len(_cells(tenths)) for split, tenths in TENTHS.items()}
        cells = ", ".join(f"{count} of meta-{split}" for split, count in of_splits.items())
        two = self.goal == "direction"
        goals = "two goals, forward and backward, in all splits" if two else f"goals in {cells} cells of {CELLS}"
        return f"{goals}; {self.horizon} steps of {self.seconds_per_step:g} seconds, MuJoCo {simulator.version()}"

    def for_split(self, split: Split) -> Self:
        """Return the family of a split, whose goals are in its own cells; directions are in all splits."""
        own = type(self)(self.robot, self.goal, self.horizon, self.frame_skip, self.control_cost)
        own.cells = _cells(TENTHS[split])
        return own

    @property
    def seconds_per_step(self) -> float:
        """The time that a step takes in the simulated world."""
        return self.frame_skip * self._simulator.timestep

    @property
    def from_above(self) -> bool:
        """Whether `pose` shows the robot from above, since it can go anywhere on the floor; else from the side."""
        return self.body.hidden == 2

    def pose(self, state: State) -> NDArray[np.float64]:
        """Return (T * K, limbs, 2, 2) the two ends of each limb in a plane, in metres; NaN after the end."""
        ends = self._simulator.limbs(state.physics)[..., [0, 1] if self.from_above else [0, 2]]
        return np.where(state.ended[:, None, None, None], np.nan, ends)

    def goal_texts(self, parameters: Any) -> list[str]:
        """Say what the robot should do in each task."""
        return [asked_for(self.goal, each) for each in parameters.tolist()]

    @property
    def _simulator(self) -> simulator.Simulator:
        return simulator.simulator(self.body.file)

    # `Any` below is a torch tensor: nothing in data/ imports torch, and the random numbers belong to the task stream.

    def parameters(self, uniform: Any) -> Any:
        """Turn (T, 2) numbers in [0, 1) into goals: (T, 2) directions of length 1, or (T, 1) speeds."""
        if self.goal == "direction":
            sign = 1 - 2 * (uniform[:, :1] < 0.5).to(uniform.dtype)
            return sign * sign.new_tensor([1.0, 0.0])
        cells = uniform.new_tensor(self.cells)[(uniform[:, 0] * len(self.cells)).long()]
        place = ((cells + uniform[:, 1]) / CELLS)[:, None]
        if self.goal == "velocity":
            return FASTEST * place
        angle = 2 * math.pi * place
        return (angle + angle.new_tensor([math.pi / 2, 0.0])).sin()  # cosine and sine

    def reset(self, parameters: Any, uniform: Any) -> tuple[State, Any]:
        """Start near the rest position, with noise as in gymnasium."""
        from scipy.special import erfinv

        rest, numbers = self._simulator.rest, _numbers(uniform)
        of_positions, of_velocities = np.split(numbers, [len(rest)], 1)
        positions = rest + NOISE * (2 * of_positions - 1)
        normal = math.sqrt(2) * erfinv(2 * of_velocities - 1 + 2.0**-53)  # shifted by half a step: 0 is not infinity
        state = State(self._simulator.start(positions, NOISE * normal), np.zeros(len(positions), bool))
        return state, self._observed(state, parameters, uniform.shape[1])

    def step(self, parameters: Any, state: State, action: Any, uniform: Any) -> tuple[State, Any, Any, Any]:  # noqa: ARG002
        """See `EnvironmentFamily.step`. Actions are clipped to [-1, 1]."""
        tasks, count = action.shape[:2]
        action = action.clamp(-1, 1)
        controls = np.nan_to_num(_numbers(action))  # of a policy that diverged: its reward is NaN
        going = ~state.ended
        physics, sound = state.physics.copy(), np.ones_like(going)
        physics[going], sound[going] = self._simulator.advance(state.physics[going], controls[going], self.frame_skip)
        if not sound.all():
            self._warn(state, sound, count)
            physics[~sound] = state.physics[~sound]
        moved = physics[:, 1:3] - state.physics[:, 1:3]  # of the root: forward, and up or, of the ant, to the left
        velocity = parameters.new_tensor(moved / self.seconds_per_step).view(tasks, count, 2)
        standing = self._stands(physics)
        reward = self._progress(parameters, velocity) - self.control_cost * (action * action).sum(-1)
        reward = (reward + self.body.bonus).where(_mask(sound, parameters, (tasks, count)), reward.new_zeros(()))
        following = State(physics, state.ended | ~sound | ~standing)
        done = _mask(following.ended, parameters, (tasks, count))
        return following, self._observed(following, parameters, count), reward, done

    def _progress(self, goals: Any, velocity: Any) -> Any:
        """Return (T, K) the reward for a velocity (T, K, 2)."""
        if self.goal == "velocity":
            return -(velocity[..., 0] - goals).abs()
        return (velocity * goals[:, None]).sum(-1)

    def _stands(self, physics: NDArray[np.float64]) -> NDArray[np.bool_]:
        if self.body.heights is None:
            return np.ones(len(physics), bool)
        low, high = self.body.heights
        return (low <= physics[:, 3]) & (physics[:, 3] <= high)

    def _observed(self, state: State, like: Any, count: int) -> Any:
        """Return (T, K, *shape) the positions and velocities, without the place on the floor."""
        observed = np.ascontiguousarray(state.physics[:, 1 + self.body.hidden :])
        return like.new_tensor(observed).view(-1, count, *self.shape)

    def _warn(self, state: State, sound: NDArray[np.bool_], count: int) -> None:
        place = int((~sound).argmax())
        step = round(state.physics[place, 0] / self.seconds_per_step)
        log.warning(
            "the simulation of %s became unstable: %s ended there (the first: task %d, trajectory %d, step %d of %d)",
            *(self.name, counted(int((~sound).sum()), "trajectory"), *divmod(place, count), step, self.horizon),
        )


def _numbers(values: Any) -> NDArray[np.float64]:
    """Return (T * K, n) float64 numbers of a tensor (T, K, n) on any device."""
    found: NDArray[np.float64] = values.detach().cpu().double().flatten(0, 1).numpy()
    return found


def _mask(values: NDArray[np.bool_], like: Any, shape: tuple[int, int]) -> Any:
    """Return a bool tensor of a shape on the device of another tensor."""
    return like.new_tensor(values).bool().view(shape)


def _cells(tenths: range) -> list[int]:
    return [cell for cell in range(CELLS) if tenth_of(str(cell)) in tenths]
