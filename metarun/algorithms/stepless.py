"""Methods without inner steps: they compare examples or fit a head in closed form."""

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial

from torch import Tensor

from metarun.algorithms.algorithm import Adapted, AdaptedBy, Algorithm
from metarun.system.inputs import Inputs
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import mean_loss
from metarun.tasks.vectorize import over_tasks


class Stepless(Algorithm):
    """A method whose predictions are a function of the support set and the queries, without inner steps."""

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the queries."""
        return mean_loss(self.logits_of_tasks(tasks), tasks.query_y)

    @abstractmethod
    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """Return (way * query, way) logits of one task.

        Args:
            support_x: (way * shot, *shape).
            support_y: (way * shot).
            query_x: (way * query, *shape).
            way: classes.
        """

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:  # noqa: ARG002, there are no steps
        """See `Algorithm.adapt`: yields once, with the support set."""
        yield AdaptedBy(partial(self.logits, support.x, support.y, way=support.way))

    def logits_of_tasks(self, tasks: TaskBatch) -> Tensor:
        """Return (T, way * query, way) logits."""

        def of_one_task(support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
            return self.logits(support_x, support_y, query_x, tasks.way)

        return over_tasks(of_one_task, self, self.how, tasks.support_x, tasks.support_y, tasks.query_x)
