import warnings

import pytest
import torch
from torch import nn

from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from metarun.runner.memory_check import check_network_fits, check_tasks_fit
from metarun.tasks.batch import TaskShape

PICTURES = {"image": InputSpec((3, 84, 84), "uint8", "bytes")}
POINTS = {"x": InputSpec((1,), "float32", "floats")}


@pytest.fixture(autouse=True)
def _a_machine_of_16_gigabytes(monkeypatch):
    monkeypatch.setattr("metarun.runner.memory_check.total_memory", lambda: 16 * 2**30)


@pytest.mark.parametrize("units", [50_000, 10**9, 2**62])
def test_a_network_larger_than_memory_is_an_error_before_it_is_built(units):
    with pytest.raises(
        UserError, match=r"training [\d,]+ weights takes [\d,]+ GB of memory but this machine has 16 GB"
    ):
        check_network_fits(lambda: nn.Sequential(nn.Linear(3, units), nn.Linear(units, units)))


def test_other_networks_pass_even_if_they_need_real_tensors():
    check_network_fits(lambda: nn.Linear(1_000, 1_000))
    check_network_fits(lambda: nn.Linear(3, int(torch.ones(()).item())))


def test_the_check_draws_no_random_number():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    check_network_fits(lambda: nn.Linear(10, 10))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_meta_batch_larger_than_memory_is_an_error():
    check_tasks_fit(32, TaskShape(5, 1, 15), PICTURES)
    of_a_batch = r"a meta-batch of 1,000,000 tasks of 5 x \(1 \+ 15\) examples takes .*; lower `train.meta_batch`"
    with pytest.raises(UserError, match=of_a_batch):
        check_tasks_fit(10**6, TaskShape(5, 1, 15), PICTURES)
    with pytest.raises(UserError, match=r"a task of 1 x \(1000000000 \+ 10\) examples takes .*; lower `shot`"):
        check_tasks_fit(1, TaskShape(1, 10**9, 10), POINTS)


def test_a_network_that_loads_its_own_weights_is_checked_without_a_warning():
    trained = nn.Linear(3, 2).state_dict()

    def make():
        network = nn.Linear(3, 2)
        network.load_state_dict(trained)
        return network

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_network_fits(make)
    assert not said
