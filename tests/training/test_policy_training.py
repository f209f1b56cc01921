"""The outer loop with a method that draws its own data: stopped and resumed, it has the same bits."""

import copy

import pytest
import torch

from metarun.algorithms import MAMLRL, Multitask
from metarun.backbones import MLP
from metarun.data import Navigation2D
from metarun.errors import UserError
from metarun.rl.stream import EnvironmentSource
from metarun.tasks.batch import TaskShape
from metarun.training import checkpoint
from metarun.training.distributed import SINGLE_PROCESS
from metarun.training.loop import Training
from metarun.training.schedule import Schedule


class StopError(Exception):
    """What ends a training early."""


def make(kind=MAMLRL, iterations=4, ranks=SINGLE_PROCESS, **changes):
    torch.manual_seed(0)
    source = EnvironmentSource(Navigation2D(horizon=6))
    train, val = (
        source.environments(split, TaskShape(1, 3, 3), 0, torch.device("cpu"), torch.float32)
        for split in ("train", "val")
    )
    method = kind(MLP((2,), [5]), source.actions, inner_lr=0.5, max_kl=0.1, **changes)
    settings = {"time_budget": None, "meta_batch": 2, "outer_lr": 0.1, "lr_decay": 1.0, "lr_decay_every": 1}
    return Training(
        method,
        Schedule(
            iterations=iterations, clip_grad=None, validate_every=2, validate_tasks=3, validate_steps=2, **settings
        ),
        train,
        val,
        ranks=ranks,
    )


def run(training, stop_at=None):
    def check():
        if stop_at is not None and training.progress.iteration == stop_at:
            raise StopError

    training.run(lambda: None, [], check)
    return training


@pytest.mark.parametrize("kind", [MAMLRL, Multitask])
def test_a_stopped_training_continues_with_the_same_bits(kind):
    whole = run(make(kind))
    first = make(kind)
    with pytest.raises(StopError):
        run(first, stop_at=3)
    rest = make(kind)
    rest.restore(checkpoint.snapshot(first.state()))
    run(rest)
    for name, weight in whole.algorithm.state_dict().items():
        assert torch.equal(weight, rest.algorithm.state_dict()[name]), name
    returns = [[row.get("return") for row in each.progress.curve] for each in (whole, rest)]
    assert returns[0] == returns[1]
    assert len([value for value in returns[0] if value is not None]) == 2


def test_a_training_is_not_split_among_processes():
    ranks = copy.copy(SINGLE_PROCESS)
    object.__setattr__(ranks, "world_size", 2)
    with pytest.raises(UserError, match="MAMLRL processes a meta-batch as a whole, so it cannot be split among 2"):
        make(ranks=ranks)
