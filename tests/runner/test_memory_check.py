import pytest
import torch
from torch import nn

from metarun.errors import UserError
from metarun.runner.memory_check import check_room_for_network, check_room_for_tasks
from metarun.tasks.batch import TaskShape


@pytest.fixture(autouse=True)
def _a_machine_of_16_gigabytes(monkeypatch):
    monkeypatch.setattr("metarun.runner.memory_check.installed", lambda: 16 * 2**30)


@pytest.mark.parametrize("units", [50_000, 10**9, 2**62])
def test_a_network_that_is_larger_than_the_memory_is_told_before_it_takes_any(units):
    with pytest.raises(UserError, match=r"and to train them takes [\d,]+ GB of memory but there are 16 GB of memory"):
        check_room_for_network(lambda: nn.Sequential(nn.Linear(3, units), nn.Linear(units, units)))


def test_others_pass_also_what_cannot_be_made_without_numbers():
    check_room_for_network(lambda: nn.Linear(1_000, 1_000))
    check_room_for_network(lambda: nn.Linear(3, int(torch.ones(()).item())))


def test_trying_draws_no_random_number():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    check_room_for_network(lambda: nn.Linear(10, 10))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_meta_batch_whose_examples_are_more_than_the_memory_is_told():
    check_room_for_tasks(32, TaskShape(5, 1, 15), (3, 84, 84))
    of_a_batch = (
        r"a meta-batch of 1,000,000 tasks, each of 5 x \(1 \+ 15\) examples, would .*; lower `train.meta_batch`"
    )
    with pytest.raises(UserError, match=of_a_batch):
        check_room_for_tasks(10**6, TaskShape(5, 1, 15), (3, 84, 84))
    with pytest.raises(UserError, match=r"a task of 1 x \(1000000000 \+ 10\) examples, would take .*; lower `shot`"):
        check_room_for_tasks(1, TaskShape(1, 10**9, 10), (1,))
