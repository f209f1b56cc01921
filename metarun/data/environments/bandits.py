"""Bandits: some arms, each of which pays with a probability of its own, as in RL^2."""

import hashlib
from typing import Any

from metarun.data.built_in import BuiltIn
from metarun.data.environments.family import Discrete
from metarun.system.limits import check_data_between

MAX_ARMS = 1_000


class Bandits(BuiltIn):
    """Bernoulli bandits: a trajectory is one pull of an arm, and every task has different arms.

    Duan et al., "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", 2016, section 3.1
    (https://arxiv.org/abs/1611.02779): the probability that an arm pays 1, and not 0, is uniform in [0, 1]. There is
    nothing to observe. `task.shot` is the number of pulls, from which a method learns which arm is best.

    Meta-train, meta-val and meta-test have different arms: a task's are real numbers drawn with the key of its split.

    Args:
        arms: of each bandit.

    Raises:
        UserError: an argument is out of range.
    """

    name = "bandits"
    summary = "arms that pay with unknown probabilities: reinforcement learning, a new bandit in every task"
    shape = (1,)
    horizon = 1
    uniforms_per_reset = 0
    uniforms_per_step = 1

    def __init__(self, arms: int = 5) -> None:
        check_data_between("arms", arms, 2, MAX_ARMS)
        self.arms = arms
        self.actions = Discrete(arms)
        self.parameter_count = arms

    @property
    def hash(self) -> str:
        """SHA-256 of the rules and their settings."""
        return hashlib.sha256(f"Bernoulli, uniform probabilities|{self.arms}".encode()).hexdigest()

    def check(self) -> str:
        """Say what is drawn; there is no content that could be damaged."""
        return f"{self.arms} arms, each pays with a probability from 0 to 1; a trajectory is one pull"

    # `Any` below is a torch tensor: nothing in data/ imports torch, and the random numbers belong to the task stream.

    def parameters(self, uniform: Any) -> Any:
        """Return (T, arms) the probabilities."""
        return uniform

    def reset(self, parameters: Any, uniform: Any) -> tuple[Any, Any]:
        """Return an observation (T, K, 1) that says nothing, as state too."""
        nothing = parameters.new_ones(*uniform.shape[:2], 1)
        return nothing, nothing

    def step(self, parameters: Any, state: Any, action: Any, uniform: Any) -> tuple[Any, Any, Any, Any]:
        """See `EnvironmentFamily.step`."""
        pays = uniform[..., 0] < parameters.gather(1, action)
        return state, state, pays.to(parameters.dtype), pays | True

    def best_action(self, parameters: Any, observation: Any) -> Any:
        """Return the arm that pays most often."""
        return parameters.argmax(-1, keepdim=True).expand(observation.shape[:2])

    def best_return(self, parameters: Any) -> Any:
        """Return (T,) the expected return of the best arm."""
        return parameters.amax(-1)
