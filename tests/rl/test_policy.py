"""The networks of policies: which normalisations they may have."""

import pytest
import torch
from torch import nn

from metarun.algorithms import MAMLRL
from metarun.backbones import MLP, Conv4, Module
from metarun.data import Navigation2D
from metarun.errors import UserError
from metarun.rl.policy import PolicyNetwork
from metarun.rl.recurrent import RecurrentNetwork
from metarun.rl.stream import EnvironmentSource
from metarun.tasks.batch import TaskShape

ACTIONS = Navigation2D.actions


@pytest.mark.parametrize(
    "backbone",
    [
        *(lambda norm=norm: MLP((2,), [4], norm) for norm in ("batch", "support", "running")),
        lambda: Conv4((1, 16, 16), 8, norm="tasknorm"),
        lambda: Module((2,), nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))),
    ],
)
@pytest.mark.parametrize(
    "network", [PolicyNetwork, lambda backbone, actions: RecurrentNetwork(backbone, actions, units=3)]
)
def test_a_norm_over_several_observations_is_refused(network, backbone):
    with pytest.raises(
        UserError, match=r"statistics of others but a policy must act on each one alone; set `backbone\."
    ):
        network(backbone(), ACTIONS)


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_a_policy_with_a_norm_of_each_observation_is_the_same_for_all_and_for_one(norm):
    torch.manual_seed(0)
    method = MAMLRL(MLP((2,), [4], norm), ACTIONS, inner_lr=0.1).double().train()
    observations = torch.randn(5, 2, dtype=torch.float64)
    each = torch.cat([method.policy(row[None]) for row in observations])
    torch.testing.assert_close(method.policy(observations), each)
    source = EnvironmentSource(Navigation2D(horizon=4))
    tasks = source.environments("train", TaskShape(1, 2, 2), 0, torch.device("cpu"), torch.float64).draw(0, 2)
    before = method.policy.head.weight.clone()
    assert method.outer_step(tasks, None).isfinite()
    assert not torch.equal(method.policy.head.weight, before)
