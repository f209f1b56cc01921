"""The interface of a method."""

from abc import abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from metarun.tasks.batch import TaskBatch
from metarun.tasks.vectorize import How

Kind = Literal["classification", "regression"]


class Algorithm(nn.Module):
    """A module that holds what is meta-learned. Nothing about a task is ever stored in it.

    Attributes:
        solves: the kinds of task it can be given.
        order: 1 or 2, of a meta-gradient that is the gradient of the meta-loss, or its first-order form; None where
            there are no inner gradient steps, or something else than that gradient is followed.
        outputs: the size of a fixed head, which then is the only way it can be given; None: any way will do.
        separable: whether the meta-loss is the mean of the tasks' own, so that a meta-batch may be taken in parts.
        learns: whether there is anything to meta-train; an untrained floor goes straight to meta-test.
        judges_features: `predict` sees an example only through `backbone`, which no task changes: so it can be given
            features in the examples' place, where each example goes through the network once for all tasks.
        not_needed: beginnings of the names of those weights that `predict` does without or `prepare` provides: the
            checkpoint of another method need not have them.
        how: the tasks of a batch are run, for `over_tasks`; the run sets what `train.over_tasks` says. A method that
            can only take one task after the other says "loop" in its class.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("classification",)
    separable: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    judges_features: bool = False
    not_needed: ClassVar[tuple[str, ...]] = ()
    how: How = "auto"
    order: int | None = None
    outputs: int | None = None

    def on_step(self, fraction: float) -> None:
        """Take note, before each step of meta-training, how much of it is over, from 0 to 1; most need not know."""

    @abstractmethod
    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the scalar that the outer loop minimises, a mean over the tasks."""

    @abstractmethod
    def predict(self, tasks: TaskBatch, steps: int) -> Tensor:
        """Predict the queries before adaptation and after each step, without a graph.

        Returns:
            (steps + 1, T, way * query, way) logits, or (steps + 1, T, query, 1) numbers in regression; the first
            dimension is 1 for methods that take no steps.
        """

    def prepare(self, tasks: TaskBatch) -> None:
        """Take from meta-train tasks what the checkpoint of another method lacks, such as the features' mean.

        Called with some batches of them, in eval mode, before such a checkpoint is meta-tested under this method; most
        methods need nothing.
        """
