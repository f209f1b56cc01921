"""The interface of a method."""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from metarun.algorithms.method import Method
from metarun.system.inputs import Inputs
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.stream import TaskStream
from metarun.tasks.vectorize import over_tasks


class Adapted(Protocol):
    """A method adapted to one task."""

    def predict(self, query_x: Inputs, /) -> Tensor:
        """Return (n, way) logits of n queries, or (n, outputs) numbers in regression.

        Args:
            query_x: (n, *shape).
        """


class Algorithm(Method):
    """A method of supervised learning: it adapts to the support set of a task and predicts its queries.

    Attributes:
        unlabelled: whether it is meta-trained on unlabelled examples, so that `task.labels` must be none: a class is
            one example, and its members are changed copies of it.
        predicts_from_features: whether predictions depend on an example only through `backbone`, which no task
            changes. Features can then be computed once for all tasks.
        optional_weights: prefixes of the weights that prediction does not need or that `calibrate` computes: the
            checkpoint of another method may lack them.
    """

    unlabelled: ClassVar[bool] = False
    predicts_from_features: bool = False
    optional_weights: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the scalar that the outer loop minimises: a mean over the tasks."""

    @abstractmethod
    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """Adapt to one task: yield the method before adaptation and after each step.

        A method that takes no steps yields once. Each value is valid until the next is requested; the last stays valid.
        """

    @torch.no_grad()
    def predict(self, tasks: TaskBatch, steps: int, every_step: bool = True) -> Tensor:
        """Predict the queries before adaptation and after each step, or after the last one alone, without a graph.

        Returns:
            (steps + 1, T, way * query, way) logits, or (steps + 1, T, query, outputs) numbers in regression; the first
            dimension is 1 after the last step alone, and for methods that take no steps.
        """

        def predictions(support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
            each_step = self.adapt(Support(support_x, support_y, tasks.way), steps)
            wanted = each_step if every_step else deque(each_step, maxlen=1)
            return torch.stack([adapted.predict(query_x) for adapted in wanted])

        return over_tasks(predictions, self, self.how, tasks.support_x, tasks.support_y, tasks.query_x).transpose(0, 1)

    def calibrate(self, tasks: TaskBatch) -> None:
        """Compute from meta-train tasks what the checkpoint of another method lacks, such as the mean of the features.

        Called with several batches, in eval mode, before such a checkpoint is meta-tested with this method. Most
        methods need nothing.
        """

    def choose(self, stream: TaskStream, steps: int) -> None:
        """Choose on meta-val tasks what is neither learned nor set by the user, such as a rate of fine-tuning.

        Called before each validation, and before the checkpoint of another method is meta-tested with this one. What is
        chosen must be in the state dict. Most methods have nothing to choose.

        Args:
            stream: of meta-val tasks.
            steps: of adaptation, as at meta-test.
        """


@dataclass(frozen=True)
class AdaptedBy:
    """A method adapted to one task, as the function that predicts; see `Adapted`."""

    predict: Callable[[Any], Tensor]


@dataclass(frozen=True)
class AdaptedHead:
    """A head fitted to one task, on features that no task changes.

    Args:
        embed: maps queries (n, *shape) to (n, features).
        head: maps (n, features) to (n, way).
    """

    embed: Callable[[Any], Tensor]
    head: Callable[[Tensor], Tensor]

    def predict(self, query_x: Inputs) -> Tensor:
        """See `Adapted`."""
        return self.head(self.embed(query_x))


def embed_once(embed: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """Return `embed` with its last result cached: all steps of a task have the same queries."""
    last: list[Any] = []

    def embed_new(query_x: Inputs) -> Tensor:
        if not last or last[0] is not query_x:
            last[:] = [query_x, embed(query_x)]
        features: Tensor = last[1]
        return features

    return embed_new
