"""Bandits by hand."""

import pytest
import torch

from metarun.data import Bandits
from metarun.errors import UserError


def test_an_arm_pays_as_often_as_its_probability_says():
    family = Bandits(arms=2)
    parameters = family.parameters(torch.tensor([[0.25, 0.75], [0.5, 0.0]], dtype=torch.float64))
    uniform = torch.tensor([0.2, 0.5, 0.8]).double().expand(2, 3)[..., None]
    state, observation = family.reset(parameters, torch.empty(2, 3, 0))
    _, _, reward, done = family.step(parameters, state, torch.tensor([[0, 0, 1], [0, 1, 1]]), uniform)
    assert observation.unique().tolist() == [1]
    assert reward.tolist() == [[1, 0, 0], [1, 0, 0]]
    assert done.all()


def test_the_best_arm_is_known():
    parameters = torch.tensor([[0.2, 0.9, 0.1]])
    assert Bandits(arms=3).best_action(parameters, torch.ones(1, 2, 1)).tolist() == [[1, 1]]
    assert Bandits(arms=3).best_return(parameters).tolist() == pytest.approx([0.9])


def test_too_few_arms_are_refused():
    with pytest.raises(UserError, match="arms=1 but it must be from 2 to 1,000"):
        Bandits(arms=1)
