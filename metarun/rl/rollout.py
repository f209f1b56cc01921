"""Roll out a policy in a family of environments, in all tasks and trajectories at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metarun.data.environments.family import EnvironmentFamily
from metarun.errors import UserError
from metarun.rl.policy import Policy
from metarun.rl.trajectories import Trajectories
from metarun.tasks.families import blaming
from metarun.tasks.rng import split_key, uniform


@torch.no_grad()
def roll_out(
    family: EnvironmentFamily,
    parameters: Tensor,
    keys: Tensor,
    policy: Policy,
    numbers: Tensor,
    watch: Callable[[Any], object] | None = None,
) -> Trajectories:
    """Return trajectories of a policy.

    Args:
        family: of the environments.
        parameters: (T, …) of the tasks.
        keys: (T,) int64, from which all random numbers come.
        policy: to roll out.
        numbers: (K,) int64 of the trajectories in each task; each has random numbers of its own.
        watch: gets the state of the environments at the start and after each step.

    Raises:
        UserError: the environment fails, or returns something of another shape, or a number that is not finite.
    """
    each = split_key(keys[:, None], numbers)  # (T, K)
    horizon, (tasks, count) = family.horizon, each.shape
    noise = policy.noise(_uniform(each, 0, horizon, family.actions.uniforms)).to(parameters.dtype)
    of_steps = _uniform(each, 1, horizon, family.uniforms_per_step)
    state, observation = _call(family, "reset", parameters, _uniform(each, 2, 1, family.uniforms_per_reset)[0])
    _check(family, "reset", "observations", observation, (tasks, count, *family.shape))
    policy.start(tasks, count)
    if watch is not None:
        watch(state)
    alive = parameters.new_ones(tasks, count)
    rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for step in range(horizon):
        action = policy.act(observation, noise[step])
        state, following, reward, done = _call(family, "step", parameters, state, action, of_steps[step])
        if watch is not None:
            watch(state)
        if step == 0:
            _check(family, "step", "observations", following, (tasks, count, *family.shape))
            _check(family, "step", "rewards", reward, (tasks, count))
            _check(family, "step", "whether each trajectory has ended", done, (tasks, count))
        rows.append((observation, action, reward * alive, alive))
        alive = alive * ~done
        policy.receive(action, rows[-1][2], alive)
        observation = following
    observations, actions, rewards, taken = (torch.stack(column, 2) for column in zip(*rows, strict=True))
    solved = _call(family, "solved", state, parameters) if callable(getattr(family, "solved", None)) else None
    found = Trajectories(observations, actions, rewards, taken, solved)
    _check_finite(family, found)
    return found


def _call(family: EnvironmentFamily, function: str, *arguments: Any) -> Any:
    """Call a function of a family; raise a UserError if it is a user's and fails."""
    with blaming(f"{type(family).__name__}.{function}() failed", family):
        return getattr(family, function)(*arguments)


def _uniform(keys: Tensor, use: int, steps: int, numbers: int) -> Tensor:
    """Return (steps, T, K, numbers) float64 numbers in [0, 1), other ones for each use."""
    drawn = uniform(split_key(keys, use), steps * numbers)
    return drawn.view(*keys.shape, steps, numbers).movedim(2, 0).contiguous()


def _check(family: EnvironmentFamily, function: str, what: str, values: Any, shape: tuple[int, ...]) -> None:
    name = f"{type(family).__name__}.{function}()"
    if not isinstance(values, Tensor):
        raise UserError(f"{name} returns a {type(values).__name__} as {what} but it must be a tensor", "fix it.")
    if values.shape != shape:
        raise UserError(f"{name} returns {what} of shape {tuple(values.shape)} but it must be {shape}", "fix it.")


def _check_finite(family: EnvironmentFamily, found: Trajectories) -> None:
    """Raise a UserError if an environment returned NaN or infinity; a policy with weights that are not finite may."""
    if found.rewards.isfinite().all() and found.observations.isfinite().all():
        return
    if found.actions.is_floating_point() and not found.actions.isfinite().all():
        return  # the policy diverged, and the environment follows it
    what, values = (
        ("observation", found.observations.flatten(3))
        if found.rewards.isfinite().all()
        else (
            "reward",
            found.rewards[..., None],
        )
    )
    task, trajectory, step, _ = (~values.isfinite()).nonzero()[0].tolist()
    raise UserError(
        f"{type(family).__name__}.step() returns a {what} that is not finite (task {task}, trajectory {trajectory}, "
        f"step {step} of {family.horizon})",
        "fix the environment.",
    )
