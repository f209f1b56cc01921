"""Distributions of actions against torch.distributions."""

import pytest
import torch
from torch import distributions

from metarun.rl.distributions import Categorical, Normal
from metarun.tasks.rng import uniform


def of_torch(kind, parameters):
    if kind is Categorical:
        return distributions.Categorical(logits=parameters)
    mean, log_std = parameters.chunk(2, -1)
    return distributions.Independent(distributions.Normal(mean, log_std.exp()), 1)


@pytest.mark.parametrize("kind", [Normal, Categorical])
def test_probabilities_divergences_and_curvature_are_torchs(kind):
    torch.manual_seed(0)
    parameters, other, vector = torch.randn(3, 5, 4, dtype=torch.float64)
    own, theirs = of_torch(kind, parameters), of_torch(kind, other)
    actions = own.sample()
    torch.testing.assert_close(kind().log_prob(parameters, actions), own.log_prob(actions))
    torch.testing.assert_close(kind().entropy(parameters), own.entropy())
    torch.testing.assert_close(kind().kl(parameters, other), distributions.kl_divergence(own, theirs))
    hessian = torch.autograd.functional.hessian(lambda moved: kind().kl(parameters[0], moved), parameters[0])
    torch.testing.assert_close(kind().fisher_product(parameters[0], vector[0]), hessian @ vector[0])


def test_actions_have_the_probabilities_of_the_network():
    numbers = uniform(torch.tensor([7]), 20_000)[0]
    logits = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
    drawn = Categorical().sample(logits.expand(20_000, 3), numbers[:, None])
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    torch.testing.assert_close(shares.double(), logits.softmax(-1), atol=0.01, rtol=0)
    noise = Normal().noise(numbers[:, None])
    moved = Normal().sample(torch.tensor([2.0, -1.0], dtype=torch.float64).expand(20_000, 2), noise)
    assert moved.mean() == pytest.approx(2.0, abs=0.01)
    assert moved.std() == pytest.approx(torch.tensor(-1.0).exp().item(), abs=0.01)


def test_the_last_action_is_drawn_even_if_probabilities_sum_to_less_than_one():
    logits = torch.tensor([0.1, 0.2, 0.3])
    assert Categorical().sample(logits, torch.tensor([1 - 2.0**-53], dtype=torch.float64)) == 2
