"""Meta-World: a robot arm that has to move an object, or its hand, to a goal that it cannot see."""

import hashlib
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from metarun.data.environments import metaworld_arm as arm
from metarun.data.environments.family import Continuous
from metarun.data.examples import SPLITS, Split
from metarun.errors import UserError
from metarun.system.limits import check_data_between

Benchmark = Literal["ml1", "ml10"]
GOALS = 50  # of each environment in each split, as in Meta-World


class State(NamedTuple):
    """The states of trajectories.

    Args:
        trajectories: T * K of Meta-World, which `step` changes in place.
        solved: (T * K,) bool whether each has solved its task so far.
    """

    trajectories: list[arm.Trajectory]
    solved: NDArray[np.bool_]


class MetaWorld:
    """The environments of Meta-World, in which a Sawyer arm manipulates objects; every task is one goal in one of them.

    Yu et al., "Meta-World: A Benchmark and Evaluation for Multi-Task and Meta Reinforcement Learning", 2019
    (https://arxiv.org/abs/1910.10897), in the version that is installed. In ML1 all splits have one environment. In
    ML10 meta-train and meta-val have ten environments and meta-test five others. Each has 50 goals in each split, drawn
    by Meta-World with other seeds. A goal shows in the reward alone, from 0 to 10 a step.

    Meta-World has no meta-val; its goals are drawn in the same way.

    Args:
        benchmark: `ml1` or `ml10`.
        environment: of ML1, such as `reach-v3`; ML10 has its own.
        horizon: steps of a trajectory. Meta-World has 500.

    Raises:
        UserError: an argument is out of range.
    """

    licence = "Meta-World (MIT) and MuJoCo (Apache 2.0)"
    shape = (arm.SIZE,)
    actions = Continuous(arm.CONTROLS)
    parameter_count = 1  # which task
    uniforms_per_reset = 0
    uniforms_per_step = 0

    def __init__(self, benchmark: Benchmark = "ml1", environment: str = "reach-v3", horizon: int = 150) -> None:
        if benchmark not in get_args(Benchmark):
            raise UserError(
                f"benchmark='{benchmark}' is not one of {', '.join(get_args(Benchmark))}", "correct `data.benchmark`."
            )
        check_data_between("horizon", horizon, 1, arm.LONGEST)
        self.benchmark, self.environment, self.horizon = benchmark, environment, horizon
        self.split: Split = "train"

    @property
    def name(self) -> str:
        """The name of the option in conf/data/."""
        return f"metaworld_{self.benchmark}"

    @property
    def summary(self) -> str:
        """What it is."""
        what = "one environment" if self.benchmark == "ml1" else "ten environments, five others in meta-test"
        return f"a robot arm that manipulates objects, in {what} of Meta-World: reinforcement learning"

    @property
    def hash(self) -> str:
        """SHA-256 of the versions, the environments, their goals and the horizon."""
        names = [self.environments(split) for split in SPLITS]
        rules = f"{arm.versions()}|{names}|{GOALS} goals by seed|{self.horizon}"
        return hashlib.sha256(rules.encode()).hexdigest()

    def load(self) -> Self:
        """Return itself.

        Raises:
            UserError: Meta-World is missing, or has no environment of this name.
        """
        arm.check_installed()
        if self.benchmark == "ml1" and self.environment not in arm.environments():
            raise UserError(
                f"environment='{self.environment}' is not one of Meta-World's: {', '.join(arm.environments())}",
                "correct `data.environment`.",
            )
        return self

    def where(self) -> str:
        """Where it comes from, or what to install."""
        return "needs pip install 'metarun[metaworld]'" if arm.is_missing() else arm.versions()

    def check(self) -> str:
        """Say what is drawn.

        Raises:
            UserError: Meta-World is missing.
        """
        self.load()
        counts = ", ".join(f"{GOALS * len(self.environments(split))} of meta-{split}" for split in SPLITS)
        return f"goals: {counts}; {self.horizon} steps, {arm.versions()}"

    def for_split(self, split: Split) -> Self:
        """Return the family of a split, which has goals of its own."""
        own = type(self)(self.benchmark, self.environment, self.horizon)
        own.split = split
        return own

    def environments(self, split: Split) -> tuple[str, ...]:
        """Return the names of the environments of a split."""
        if self.benchmark == "ml1":
            return (self.environment,)
        train, test = arm.of_ml10()
        return test if split == "test" else train

    # `Any` below is a torch tensor: nothing in data/ imports torch.

    def parameters(self, uniform: Any) -> Any:
        """Turn (T, 1) numbers in [0, 1) into (T, 1) numbers of tasks: of the environment and of its goal."""
        return (uniform * GOALS * len(self.environments(self.split))).floor()

    def _starts(self, parameters: Any) -> list[tuple[arm.Trajectory, arm.Array]]:
        names, first = self.environments(self.split), GOALS * SPLITS.index(self.split)
        numbers = [divmod(round(number), GOALS) for number in parameters[:, 0].tolist()]
        return [arm.start(names[environment], first + goal) for environment, goal in numbers]

    def reset(self, parameters: Any, uniform: Any) -> tuple[State, Any]:
        """Start all trajectories of a task in the same state, which Meta-World draws with the goal."""
        count = uniform.shape[1]
        starts = self._starts(parameters)
        trajectories = [trajectory.copy() for trajectory, _ in starts for _ in range(count)]
        observed = np.repeat([observation for _, observation in starts], count, 0)
        return State(trajectories, np.zeros(len(trajectories), bool)), _tensor(observed, parameters, count)

    def step(self, parameters: Any, state: State, action: Any, uniform: Any) -> tuple[State, Any, Any, Any]:  # noqa: ARG002
        """See `EnvironmentFamily.step`. Actions are clipped to [-1, 1]; no trajectory ends before the horizon."""
        count = action.shape[1]
        controls = action.clamp(-1, 1).detach().cpu().double().flatten(0, 1).numpy()
        observed, rewards, solved = arm.advance(state.trajectories, np.nan_to_num(controls))
        rewards[np.isnan(controls).any(1)] = np.nan  # of a policy that diverged
        reward = parameters.new_tensor(rewards).view(-1, count)
        following = State(state.trajectories, state.solved | solved)
        return following, _tensor(observed, parameters, count), reward, reward < -np.inf

    def solved(self, state: State, like: Any) -> Any:
        """Return (T, K) 1 for the trajectories that have solved their task in at least one step, else 0."""
        return like.new_tensor(state.solved).view(len(like), -1)

    def in_plane(self, observations: Any) -> Any:
        """Return (T, K, H, 2) where the hand is, seen from above, as metres from where it started."""
        hand = observations[..., :2]
        return hand - hand[:, :, :1]

    def goals_in_plane(self, parameters: Any) -> Any:
        """Return (T, 2) the goals, likewise."""
        offsets = [each.environment._target_pos[:2] - hand[:2] for each, hand in self._starts(parameters)]
        return parameters.new_tensor(np.array(offsets))


def _tensor(observed: NDArray[np.float64], like: Any, count: int) -> Any:
    return like.new_tensor(observed).view(-1, count, arm.SIZE)
