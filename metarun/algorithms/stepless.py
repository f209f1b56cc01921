"""Methods that solve a task in one go: by comparison, or by a head in closed form."""

from typing import Protocol

import torch
from torch import Tensor

from metarun.tasks.batch import TaskBatch
from metarun.tasks.vectorize import How, MayHaveState, over_tasks


class Stepless(MayHaveState, Protocol):
    """A method that says in one go what a task's queries are.

    Attributes:
        how: a batch of tasks is run, see `over_tasks`.
    """

    how: How

    def logits(self, support_x: Tensor, support_y: Tensor, query_x: Tensor, way: int) -> Tensor:
        """Return (way * query, way) of one task.

        Args:
            support_x: (way * shot, *shape).
            support_y: (way * shot).
            query_x: (way * query, *shape).
            way: classes.
        """


def logits_of_tasks(method: Stepless, tasks: TaskBatch) -> Tensor:
    """Return (T, way * query, way) logits."""

    def of_one_task(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        return method.logits(support_x, support_y, query_x, tasks.way)

    return over_tasks(of_one_task, method, method.how, tasks.support_x, tasks.support_y, tasks.query_x)


@torch.no_grad()
def predict_at_once(method: Stepless, tasks: TaskBatch, steps: int) -> Tensor:  # noqa: ARG001, no steps are taken
    """See `Algorithm.predict`, which this is for methods whose logits are their predictions.

    Returns:
        (1, T, way * query, way) logits; the first dimension is 1 because there are no steps.
    """
    return logits_of_tasks(method, tasks)[None]
