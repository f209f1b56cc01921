"""What neural processes share: a Gaussian for every query as a function of the support set, and its likelihood."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.algorithm import Adapted, AdaptedBy, Algorithm
from metarun.backbones import Backbone
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.system.limits import check_at_least
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.stream import Kind
from metarun.tasks.vectorize import over_tasks


class NeuralProcess(Algorithm):
    """A method of regression that reads the support set and predicts a mean and a standard deviation for each query.

    Args:
        backbone: maps examples to features.
        outputs: numbers of a target.
        min_sd: lower bound of the predicted standard deviation, in units of the targets.
        sizes: of layers, at least 1, by the name of the argument.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("regression",)

    def __init__(self, backbone: Backbone, outputs: int, min_sd: float, **sizes: int) -> None:
        super().__init__()
        for name, size in {"outputs": outputs, **sizes}.items():
            check_at_least(f"algo.{name}", size, 1)
        if not 0 < min_sd < 1:
            raise UserError(f"algo.min_sd={min_sd} but it must be above 0 and below 1", "set it to 0.1 or 0.01.")
        self.backbone, self.outputs, self.min_sd = backbone, outputs, min_sd

    @abstractmethod
    def distribution(self, support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
        """Return (2, query, outputs), the means and the standard deviations of one task's queries.

        Args:
            support_x: (shot, *shape).
            support_y: (shot, outputs).
            query_x: (query, *shape).
        """

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean negative log-likelihood of the query targets, in nats a number."""
        mean, sd = self.distributions(tasks)
        return negative_log_likelihood(mean, sd, tasks.query_y).mean()

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:  # noqa: ARG002, there are no steps
        """See `Algorithm.adapt`: yields once; a prediction is the mean."""

        def mean(query_x: Inputs) -> Tensor:
            return self.distribution(support.x, support.y, query_x)[0]

        yield AdaptedBy(mean)

    def distributions(self, tasks: TaskBatch) -> Tensor:
        """Return (2, T, query, outputs), the means and the standard deviations of the queries of T tasks."""
        inputs = (tasks.support_x, tasks.support_y, tasks.query_x)
        return over_tasks(self.distribution, self, self.how, *inputs).transpose(0, 1)


def negative_log_likelihood(mean: Tensor, sd: Tensor, targets: Tensor) -> Tensor:
    """Return (...) the negative log-density of targets under independent Gaussians, in nats."""
    return ((targets - mean) / sd).square() / 2 + sd.log() + math.log(2 * math.pi) / 2


def mean_and_sd(outputs: Tensor, min_sd: float) -> Tensor:
    """Return (2, n, outputs) from a network's (n, 2 * outputs): means, and sd = min + (1 - min) softplus(.).

    A lower bound keeps the likelihood finite where a prediction is exact, as in the authors' code of each paper.
    """
    mean, free = outputs.chunk(2, -1)
    return torch.stack([mean, min_sd + (1 - min_sd) * F.softplus(free)])


def perceptron(sizes: Sequence[int]) -> nn.Sequential:
    """Return linear layers of these sizes, from the inputs to the outputs, with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, units in pairwise(sizes):
        layers += [nn.Linear(inputs, units), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
