"""A point that moves to a hidden goal in the plane, as in MAML's reinforcement learning experiment."""

import hashlib
import math
from typing import Any, Literal, Self, get_args

from metarun.data.built_in import BuiltIn
from metarun.data.environments.family import Continuous
from metarun.data.environments.goal_cells import TENTHS, tenth_of
from metarun.data.examples import Split
from metarun.errors import UserError
from metarun.system.limits import check_data_between

CELLS = 50  # on each side of the square of goals; a cell is as wide as the goal region
MAX_HORIZON = 100_000
MAX_STEP = 0.1
GOAL_REGION = 0.01  # a trajectory ends if both coordinates are closer to the goal's
HALF_SIDE = 0.5
Reward = Literal["distance", "squared", "sparse"]


class Navigation2D(BuiltIn):
    """A point starts at the origin and has to reach a goal that it cannot see; every task is one goal.

    Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", 2017, section 5.3
    (https://arxiv.org/abs/1703.03400). Observations are the position; the goal shows only in the reward. Goals are
    from the square [-0.5, 0.5]^2. A step moves the point by a tenth of the action, at most by 0.1 in each coordinate.
    A trajectory ends at the horizon, or when both coordinates are within 0.01 of the goal's.

    The text of the paper has the negative squared distance as reward; its released code (cbfinn/maml_rl,
    maml_examples/point_env_randgoal.py), which made its figure, has the negative distance, and scales actions by 0.1.
    `distance` is the default for that reason. Another difference is ours: the square is divided into 50 x 50 cells of
    the size of the goal region, and each cell belongs to one split, so that no meta-test goal was seen in training.

    Args:
        horizon: steps of a trajectory, at most.
        reward: of each step: `distance` (its negative), `squared` (the negative squared distance), or `sparse` (1 minus
            the distance over `radius` within the radius of the goal, else 0; the trajectory does not end).
        radius: of the region with a reward, if the reward is sparse.

    Raises:
        UserError: an argument is out of range.
    """

    summary = "a point that has to find a hidden goal in the plane: reinforcement learning, a new goal in every task"
    shape = (2,)
    actions = Continuous(2)
    parameter_count = 3  # a cell of the split, and a place in it
    uniforms_per_reset = 0
    uniforms_per_step = 0

    def __init__(self, horizon: int = 100, reward: Reward = "distance", radius: float = 0.2) -> None:
        check_data_between("horizon", horizon, 1, MAX_HORIZON)
        if reward not in get_args(Reward):
            raise UserError(f"reward='{reward}' is not one of {', '.join(get_args(Reward))}", "correct `data.reward`.")
        if not 0 < radius < math.inf:
            raise UserError(f"radius={radius} but it must be above 0", "correct `data.radius`.")
        self.horizon, self.reward, self.radius = horizon, reward, radius
        self.cells: list[tuple[int, int]] = _cells(range(10))

    @property
    def name(self) -> str:
        """The name of the option in conf/data/."""
        return "navigation2d_sparse" if self.reward == "sparse" else "navigation2d"

    @property
    def hash(self) -> str:
        """SHA-256 of the rules and their settings."""
        radius = self.radius if self.reward == "sparse" else None
        rules = f"x += clip(a / 10, 0.1)|goal cells {CELLS}|{self.horizon}|{self.reward}|{radius}"
        return hashlib.sha256(rules.encode()).hexdigest()

    def check(self) -> str:
        """Say what is drawn; there is no content that could be damaged."""
        counts = ", ".join(f"{len(_cells(tenths)):,} of meta-{split}" for split, tenths in TENTHS.items())
        return f"goals in {counts} cells of {CELLS} x {CELLS}; {self.horizon} steps, reward {self.reward}"

    def for_split(self, split: Split) -> Self:
        """Return the family of a split, whose goals are in its own cells."""
        own = type(self)(self.horizon, self.reward, self.radius)
        own.cells = _cells(TENTHS[split])
        return own

    # `Any` below is a torch tensor: nothing in data/ imports torch, and the random numbers belong to the task stream.

    def parameters(self, uniform: Any) -> Any:
        """Turn (T, 3) numbers in [0, 1) into goals (T, 2)."""
        corners = uniform.new_tensor(self.cells)[(uniform[:, 0] * len(self.cells)).long()]
        return (corners + uniform[:, 1:]) * (2 * HALF_SIDE / CELLS) - HALF_SIDE

    def reset(self, parameters: Any, uniform: Any) -> tuple[Any, Any]:
        """Return the origin, as state and observation (T, K, 2)."""
        position = parameters.new_zeros(*uniform.shape[:2], 2)
        return position, position

    def step(self, parameters: Any, state: Any, action: Any, uniform: Any) -> tuple[Any, Any, Any, Any]:  # noqa: ARG002
        """See `EnvironmentFamily.step`."""
        position = state + (MAX_STEP * action).clamp(-MAX_STEP, MAX_STEP)
        offset = position - parameters[:, None]
        squared = (offset * offset).sum(-1)
        if self.reward == "sparse":
            reward = (1 - squared.sqrt() / self.radius).clamp(min=0)
            return position, position, reward, squared < 0
        reward = -squared if self.reward == "squared" else -squared.sqrt()
        return position, position, reward, offset.abs().amax(-1) < GOAL_REGION

    def goals_in_plane(self, parameters: Any) -> Any:
        """Return (T, 2) the goals, in the plane of the observations."""
        return parameters

    def best_action(self, parameters: Any, observation: Any) -> Any:
        """Return the action that comes closest to the goal: no policy has a higher return."""
        return ((parameters[:, None] - observation) / MAX_STEP).clamp(-1, 1)


def _cells(tenths: range) -> list[tuple[int, int]]:
    """Return the cells (column, row) of some tenths of the square; which tenth a cell is in is a hash of it."""
    return [(column, row) for column in range(CELLS) for row in range(CELLS) if tenth_of(f"{column},{row}") in tenths]
