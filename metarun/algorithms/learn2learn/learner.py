"""The loop of learn2learn's examples: clone the learner for each task, adapt it to the support set, predict.

A `Learner` is a `learn2learn.algorithms.MAML` or `MetaSGD`, with the methods `clone()` and `adapt(loss)`. The methods
differ in the learner and in its inputs: examples or features.
"""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from metarun.algorithms.algorithm import Adapted, AdaptedHead, embed_once
from metarun.algorithms.inner_loop import LinearHeadMethod
from metarun.algorithms.learn2learn.importing import import_learn2learn
from metarun.backbones import Backbone, needs_support
from metarun.errors import UserError
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import mean_loss
from metarun.tasks.vectorize import How

Learner = Any  # learn2learn has no types
Embed = Callable[[Any], Any]  # from examples to the inputs of the learner, called once per set


class Learn2LearnMethod(LinearHeadMethod):
    """A method by learn2learn; the arguments are those of `LinearHeadMethod`, order 1 is its `first_order`.

    Raises:
        UserError: learn2learn is not installed.
    """

    how: How = "loop"

    def __init__(self, backbone: Backbone, outputs: int, inner_steps: int, order: Literal[1, 2]) -> None:
        super().__init__(backbone, outputs, inner_steps, order)
        if needs_support(backbone):
            raise UserError(
                "this backbone.norm needs the support set but learn2learn passes queries without it",
                "set another `backbone.norm`, such as batch, or use a built-in method, such as algo=maml.",
            )
        import_learn2learn()

    @abstractmethod
    def learner(self, first_order: bool) -> Learner:
        """Wrap the network again each time: a stored wrapper would register its weights under a second name."""

    def embed(self, x: Any) -> Any:
        """Return the inputs of the learner: the examples, unless it adapts only the head."""
        return x

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss of the adapted learners, differentiable through their adaptation."""
        learner, losses = self.learner(first_order=self.order == 1), []
        for support_x, support_y, query_x, query_y in zip(
            tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y, strict=True
        ):
            *_, adapted = _adapt(learner, self.embed(support_x), support_y, self.inner_steps)
            losses.append(mean_loss(adapted(self.embed(query_x)), query_y))
        return torch.stack(losses).mean()

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        return adapted_learners(self.learner(first_order=True), self.embed, support, steps)


def adapted_learners(learner: Learner, embed: Embed, support: Support, steps: int) -> Iterator[Adapted]:
    """Yield what `Algorithm.adapt` does; each step changes the same clone in place."""
    embed_queries = embed_once(embed)
    for adapted in _adapt(learner, embed(support.x), support.y, steps):
        yield AdaptedHead(embed_queries, adapted)


def _adapt(learner: Learner, inputs: Tensor, support_y: Tensor, steps: int) -> Iterator[Learner]:
    """Yield the clone for one task before adaptation and after each step, which changes it in place."""
    with torch.enable_grad(), _ignore_grad_warning():  # `adapt` needs it, unlike torch.func.grad
        clone = learner.clone()
    yield clone
    for _ in range(steps):
        with torch.enable_grad(), _ignore_grad_warning():
            clone.adapt(mean_loss(clone(inputs), support_y))
        yield clone


@contextmanager
def _ignore_grad_warning() -> Iterator[None]:
    """Suppress torch's warning about what learn2learn does, correctly, with recurrent layers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
        yield


def check_adaptable(network: nn.Module) -> None:
    """Raise a UserError for weights that are frozen or have two names: learn2learn's Meta-SGD adapts them wrongly."""
    frozen = any(not weight.requires_grad for weight in network.parameters())
    if frozen or len(list(network.named_parameters(remove_duplicate=False))) > len(list(network.parameters())):
        which = "frozen weights (requires_grad=False)" if frozen else "weights under two names"
        raise UserError(f"this backbone has {which}, which learn2learn's Meta-SGD cannot adapt", "use algo=metasgd.")
