"""Random Markov decision processes with a few states, as in RL^2."""

import hashlib
from typing import Any

from metarun.data.built_in import BuiltIn
from metarun.data.environments.family import Discrete
from metarun.errors import UserError
from metarun.system.limits import check_data_between

MAX_SIZE = 1_000  # of states, actions and steps
MAX_TRANSITIONS = 1_000_000
SQRT2 = 2**0.5


class TabularMDP(BuiltIn):
    """Markov decision processes with random transitions and rewards; every task is a different one.

    Duan et al., "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", 2016, section 3.2
    (https://arxiv.org/abs/1611.02779), after Osband et al. 2013: the probabilities of the next state are from a flat
    Dirichlet distribution, the mean reward of each state and action is normal with mean 1 and deviation 1, and so is
    the reward around it. A trajectory starts in state 0. Observations are the state as a one-hot vector.

    Meta-train, meta-val and meta-test have different processes: a task's numbers are drawn with the key of its split.

    Args:
        states: of each process.
        action_count: actions in each state.
        horizon: steps of a trajectory.

    Raises:
        UserError: an argument is out of range.
    """

    name = "tabular_mdp"
    summary = "random decision processes with a few states: reinforcement learning, a new process in every task"
    uniforms_per_reset = 0
    uniforms_per_step = 2

    def __init__(self, states: int = 10, action_count: int = 5, horizon: int = 10) -> None:
        for key, value, least in (("states", states, 1), ("action_count", action_count, 2), ("horizon", horizon, 1)):
            check_data_between(key, value, least, MAX_SIZE)
        if states * states * action_count > MAX_TRANSITIONS:
            raise UserError(
                f"states={states} and action_count={action_count} but a process has at most {MAX_TRANSITIONS:,} "
                "transitions",
                "lower `data.states`.",
            )
        self.states, self.action_count, self.horizon = states, action_count, horizon
        self.shape = (states,)
        self.actions = Discrete(action_count)
        self.parameter_count = states * action_count * (states + 1)

    @property
    def hash(self) -> str:
        """SHA-256 of the rules and their settings."""
        rules = f"Dirichlet(1), N(N(1, 1), 1)|{self.states}|{self.action_count}|{self.horizon}"
        return hashlib.sha256(rules.encode()).hexdigest()

    def check(self) -> str:
        """Say what is drawn; there is no content that could be damaged."""
        return f"{self.states} states, {self.action_count} actions, {self.horizon} steps; rewards of mean 1"

    # `Any` below is a torch tensor: nothing in data/ imports torch, and the random numbers belong to the task stream.

    def parameters(self, uniform: Any) -> Any:
        """Return (T, states, actions, states + 1): the sums of the probabilities of states, then the mean reward."""
        drawn = uniform.view(len(uniform), self.states, self.action_count, self.states + 1).clone()
        exponential = -(1 - drawn[..., :-1]).log()  # n of them over their sum are a flat Dirichlet
        drawn[..., :-1] = exponential.cumsum(-1) / exponential.sum(-1, keepdim=True)
        drawn[..., -1] = 1 + _normal(drawn[..., -1])
        return drawn

    def reset(self, parameters: Any, uniform: Any) -> tuple[Any, Any]:
        """Return state 0 in each trajectory."""
        state = uniform.new_zeros(uniform.shape[:2]).long()
        return state, self._observed(state, parameters)

    def step(self, parameters: Any, state: Any, action: Any, uniform: Any) -> tuple[Any, Any, Any, Any]:
        """See `EnvironmentFamily.step`."""
        row = (state * self.action_count + action)[..., None].expand(*state.shape, self.states + 1)
        found = parameters.flatten(1, 2).gather(1, row)  # (T, K, states + 1)
        following = (found[..., : self.states - 1] <= uniform[..., :1]).sum(-1)  # the last state has what is left
        reward = found[..., -1] + _normal(uniform[..., 1]).to(parameters.dtype)
        return following, self._observed(following, parameters), reward, state < 0

    def _observed(self, state: Any, parameters: Any) -> Any:
        """Return one-hot states."""
        return parameters.new_zeros(*state.shape, self.states).scatter(-1, state[..., None], 1)

    def best_return(self, parameters: Any) -> Any:
        """Return (T,) the expected return of the best policy, by backward induction."""
        sums, rewards = parameters[..., :-1], parameters[..., -1]
        transitions = sums.clone()
        transitions[..., 1:] -= sums[..., :-1]
        value = rewards.new_zeros(len(rewards), self.states)
        for _ in range(self.horizon):
            value = (rewards + (transitions * value[:, None, None]).sum(-1)).amax(-1)
        return value[:, 0]


def _normal(uniform: Any) -> Any:
    """Turn numbers in [0, 1) into standard normal ones; shifted by half a step, so that 0 is not infinity."""
    return SQRT2 * (2 * uniform - 1 + 2.0**-53).erfinv()
