"""Methods that read labels as inputs, of which they have a fixed number."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from metarun.algorithms.stepless import Stepless
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch
from metarun.tasks.losses import mean_loss
from metarun.tasks.vectorize import over_tasks


class LabelReader(Stepless):
    """A network that reads the label of each support example and gives a logit for each of its `max_way` labels.

    Subclasses set `max_way` and implement `all_logits`.
    """

    option: ClassVar[str]  # its name for `algo=`, in errors
    max_way: int

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the queries.

        The key of a task has permuted its labels already (see `ClassTaskStream`). If `max_way` is above its way, the
        labels that it uses are drawn here, so that all of them are trained.
        """
        if self.max_way == tasks.way:
            return super().meta_loss(tasks)
        self._check(tasks.way)
        chosen = torch.rand(len(tasks), self.max_way, device=tasks.device).argsort(-1)  # (T, max_way)
        support_y, query_y = (chosen.gather(1, labels) for labels in (tasks.support_y, tasks.query_y))
        inputs = (tasks.support_x, support_y, tasks.query_x)
        return mean_loss(over_tasks(self.all_logits, self, self.how, *inputs), query_y)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`."""
        self._check(way)
        return self.all_logits(support_x, support_y, query_x)[:, :way]

    @abstractmethod
    def all_logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
        """Return (way * query, max_way) logits of one task; the arguments are those of `logits`."""

    def _check(self, way: int) -> None:
        if way > self.max_way:
            raise UserError(
                f"tasks have {way} classes but this {self.option} has labels for {self.max_way}",
                f"meta-train a run with `algo.max_way={way}`, or lower the way.",
            )
