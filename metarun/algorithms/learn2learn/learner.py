"""The loop of learn2learn's examples: a learner is cloned for each task, adapted to its support set, then asked.

Its methods differ in what the learner is and in what it sees. `Learner` stands for a `learn2learn.algorithms.MAML` or
`MetaSGD`, whose `clone()` and `adapt(loss)` do the work.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from metarun.algorithms.algorithm import Adapted, AdaptedHead, embed_once
from metarun.backbones import Backbone, needs_support
from metarun.errors import UserError
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import mean_loss

Learner = Any  # learn2learn has no types
See = Callable[[Any], Any]  # from examples to what the learner is given, once per set


def query_loss(learner: Learner, see: See, tasks: TaskBatch, steps: int) -> Tensor:
    """Return the mean query loss of the adapted learners, through which learn2learn keeps the graph."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(
        tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y, strict=True
    ):
        *_, adapted = _adapt(learner, see(support_x), support_y, steps)
        losses.append(mean_loss(adapted(see(query_x)), query_y))
    return torch.stack(losses).mean()


def adapted_learners(learner: Learner, see: See, support: Support, steps: int) -> Iterator[Adapted]:
    """Yield what `Algorithm.adapt` does; it is always the same clone, which the next step changes."""
    see_queries = embed_once(see)
    for adapted in _adapt(learner, see(support.x), support.y, steps):
        yield AdaptedHead(see_queries, adapted)


def _adapt(learner: Learner, seen: Tensor, support_y: Tensor, steps: int) -> Iterator[Learner]:
    """Yield one task's clone before adaptation and after each step: always the same one, which `adapt` changes."""
    with torch.enable_grad(), _quiet_on_recurrent_layers():  # unlike torch.func.grad, `adapt` needs it
        clone = learner.clone()
    yield clone
    for _ in range(steps):
        with torch.enable_grad(), _quiet_on_recurrent_layers():
            clone.adapt(mean_loss(clone(seen), support_y))
        yield clone


@contextmanager
def _quiet_on_recurrent_layers() -> Iterator[None]:
    """Within the block, torch does not warn of what learn2learn does to them; it is right."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
        yield


def check_adapts_each(network: nn.Module) -> None:
    """Raise a UserError where learn2learn's Meta-SGD goes wrong: on weights that are frozen or have two names."""
    frozen = any(not weight.requires_grad for weight in network.parameters())
    if frozen or len(list(network.named_parameters(remove_duplicate=False))) > len(list(network.parameters())):
        which = "frozen weights (requires_grad=False)" if frozen else "weights under two names"
        raise UserError(f"this backbone has {which}, which learn2learn's Meta-SGD cannot adapt", "choose algo=metasgd.")


def check_fits(backbone: Backbone) -> None:
    """Raise a UserError where learn2learn cannot follow: it takes each set by itself."""
    if needs_support(backbone):
        raise UserError(
            "this backbone.norm takes statistics of the support set but learn2learn passes queries without it",
            "set `backbone.norm=batch` or another, or choose a method of metarun's own, such as algo=maml.",
        )
