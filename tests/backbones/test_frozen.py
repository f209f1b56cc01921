"""Checkpoints have a hash instead of frozen weights that come from a file."""

import copy

import pytest
import torch
from torch import nn

from metarun.backbones.frozen import HASH, omit_frozen_weights


def network(value: float = 0.5) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with torch.no_grad():
        made[0].weight.fill_(value)
    made[0].requires_grad_(False)
    omit_frozen_weights(made)
    return made


def test_a_state_dict_has_a_hash_of_the_frozen_weights_and_everything_else():
    state = nn.ModuleDict({"backbone": network()}).state_dict()
    assert "backbone.0.weight" not in state
    assert "backbone.0.bias" not in state
    assert state[f"backbone.{HASH}"].shape == (32,)
    assert {"backbone.1.running_mean", "backbone.1.weight", "backbone.2.weight"} <= set(state)


def test_loading_restores_learned_weights_and_keeps_frozen_ones():
    learned = network()
    fresh = copy.deepcopy(learned)
    with torch.no_grad():
        fresh[2].weight.zero_()
    fresh.load_state_dict(learned.state_dict())
    for name, weight in learned.named_parameters():
        assert torch.equal(weight, fresh.get_parameter(name))


def test_other_frozen_weights_are_refused():
    with pytest.raises(RuntimeError, match="the frozen weights differ from those in training"):
        network(0.25).load_state_dict(network().state_dict())


def test_a_state_dict_with_frozen_weights_is_loaded_completely():
    made = network()
    whole = {**dict(made.named_parameters()), **dict(made.named_buffers())}
    other = network()
    other.load_state_dict({name: torch.full_like(tensor, 2) for name, tensor in whole.items()})
    assert bool((other[0].weight == 2).all())


def test_a_network_without_frozen_weights_has_an_unchanged_state_dict():
    made = nn.Linear(3, 2)
    omit_frozen_weights(made)
    assert set(made.state_dict()) == {"weight", "bias"}
