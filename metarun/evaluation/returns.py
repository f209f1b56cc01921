"""Evaluate a method of reinforcement learning on held-out tasks: the return before adaptation and after each step."""

from collections.abc import Callable

import torch
from torch import Tensor

from metarun.algorithms import PolicyMethod
from metarun.evaluation.chunks import in_chunks
from metarun.evaluation.evaluate import Evaluation
from metarun.results.metrics import RETURN
from metarun.rl.policy import Policy
from metarun.rl.stream import EnvironmentStream
from metarun.system.progress import OnProgress, ignore_progress

CHUNK_STEPS = 100_000  # environment steps of one roll-out at once
EXPLORED = "return_while_adapting"
SUCCESS = "success"


def evaluate_returns(
    method: PolicyMethod, stream: EnvironmentStream, tasks: int, steps: int, on_progress: OnProgress = ignore_progress
) -> Evaluation:
    """Evaluate a method on the first `tasks` of a stream.

    Each step of adaptation takes `shape.shot` trajectories of a task, whatever the method. The policy after it is
    judged on `shape.query` others, from which it learns nothing.

    Returns:
        Its `return` is the mean over the judged trajectories of a task, of the sum of their rewards; its `loss` is the
        negative return. Where environments can be solved, its `success` is the share of these trajectories that did.
        If the method adapts, `final` has its `return_while_adapting` (T,): the mean over all trajectories of a task
        from which it learned.
    """
    method.eval()
    found = in_chunks(
        lambda first, count: _returns(method, stream, first, count, steps),
        tasks,
        tasks_at_once(stream),
        lambda: "the trajectories of one task do not fit in memory; lower `task.shot`.",
        on_progress,
    )
    returns = torch.cat([judged for judged, _, _ in found], 1)
    values = {"loss": -returns, RETURN.column: returns}
    if len(found[0][1]):
        values[SUCCESS] = torch.cat([solved for _, solved, _ in found], 1)
    return Evaluation(values, RETURN, {EXPLORED: torch.cat([explored for _, _, explored in found])})


def tasks_at_once(stream: EnvironmentStream) -> int:
    """Return how many tasks fit in a chunk; at least one."""
    return max(1, CHUNK_STEPS // (stream.family.horizon * max(stream.shape.shot, stream.shape.query)))


@torch.no_grad()
def _returns(
    method: PolicyMethod, stream: EnvironmentStream, first: int, count: int, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the returns of judged trajectories, the share of them that solved the task, and the returns learned from.

    The first two are (steps + 1, T), the third is (T,); the second and the third are (0,) if there are none.
    """
    tasks = stream.draw(first, count)
    returns, solved = [], []
    for step, policy in enumerate(method.adapt(tasks, steps)):
        judged = tasks.judge(policy, step)
        returns.append(judged.returns.double().mean(-1).cpu())
        if judged.solved is not None:
            solved.append(judged.solved.double().mean(-1).cpu())
    explored = tasks.meter.explored
    nothing = returns[0].new_zeros(0)
    return (
        torch.stack(returns),
        torch.stack(solved) if solved else nothing,
        torch.stack(explored).double().mean(0).cpu() if explored else nothing,
    )


class Oracle(Policy):
    """Knows the task, and acts best in it.

    Args:
        family: of environments, which has `best_action`.
        parameters: (T, …) of the tasks.
    """

    def __init__(self, family: object, parameters: Tensor) -> None:
        self._best_action: Callable[[Tensor, Tensor], Tensor] = family.best_action  # type: ignore[attr-defined]
        self._parameters = parameters

    def noise(self, uniform: Tensor) -> Tensor:
        """See `Policy`."""
        return uniform

    def act(self, observation: Tensor, noise: Tensor) -> Tensor:  # noqa: ARG002
        """See `Policy`."""
        return self._best_action(self._parameters, observation)


def oracle_returns(stream: EnvironmentStream, tasks: int) -> Tensor | None:
    """Return (tasks,) the return of a policy that knows the task; None if the family does not tell it."""
    if callable(getattr(stream.family, "best_return", None)):
        exact: Tensor = stream.family.best_return(stream.draw(0, tasks).parameters)  # type: ignore[attr-defined]
        return exact.double().cpu()
    if not callable(getattr(stream.family, "best_action", None)):
        return None
    found = []
    for batch in stream.draw(0, tasks).chunks(tasks_at_once(stream)):
        judged = batch.judge(Oracle(batch.family, batch.parameters), 0)
        found.append(judged.returns.double().mean(-1).cpu())
    return torch.cat(found)
