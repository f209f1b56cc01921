"""Random decision processes: their distribution, and the exact value of the best policy."""

import itertools

import pytest
import torch

from metarun.data import TabularMDP
from metarun.errors import UserError


def drawn(family, count=1, seed=0):
    made = torch.Generator().manual_seed(seed)
    return family.parameters(torch.rand(count, family.parameter_count, dtype=torch.float64, generator=made))


def test_transitions_are_a_flat_dirichlet_and_mean_rewards_normal():
    found = drawn(TabularMDP(states=4, action_count=2), count=4000)
    sums, rewards = found[..., :-1], found[..., -1]
    transitions = sums.diff(dim=-1, prepend=torch.zeros_like(sums[..., :1]))
    assert (transitions >= 0).all()
    torch.testing.assert_close(sums[..., -1], torch.ones_like(sums[..., -1]))
    assert float(transitions[..., 2].mean()) == pytest.approx(1 / 4, abs=0.005)
    assert float(transitions[..., 2].var()) == pytest.approx((1 / 4) * (3 / 4) / 5, abs=0.002)  # of a Dirichlet
    assert float(rewards.mean()) == pytest.approx(1, abs=0.02)
    assert float(rewards.std()) == pytest.approx(1, abs=0.02)


def test_a_step_goes_where_the_probabilities_say():
    family = TabularMDP(states=3, action_count=2, horizon=2)
    parameters = torch.zeros(1, 3, 2, 4, dtype=torch.float64)
    parameters[0, 1, 0] = torch.tensor([0.1, 0.6, 1.0, 5.0])
    state = torch.tensor([[1, 1, 1]])
    uniform = torch.tensor([[[0.05, 0.5], [0.5, 0.5], [0.99, 0.5]]], dtype=torch.float64)
    following, observation, reward, done = family.step(parameters, state, torch.zeros_like(state), uniform)
    assert following.tolist() == [[0, 1, 2]]
    assert observation[0].tolist() == torch.eye(3).tolist()
    assert reward[0].tolist() == pytest.approx([5, 5, 5])  # the noise of 0.5 is 0
    assert not done.any()


def test_the_best_return_is_that_of_the_best_of_all_policies():
    family = TabularMDP(states=2, action_count=2, horizon=2)
    parameters = drawn(family)
    first = parameters[0, ..., 0]  # probability of state 0
    reward = parameters[0, ..., -1]
    values = []
    for start, in_0, in_1 in itertools.product((0, 1), repeat=3):  # an action at the start, and one for each state then
        then = first[0, start] * reward[0, in_0] + (1 - first[0, start]) * reward[1, in_1]
        values.append(float(reward[0, start] + then))
    assert family.best_return(parameters).tolist() == pytest.approx([max(values)])


def test_other_settings_have_another_hash():
    families = [TabularMDP(), TabularMDP(states=9), TabularMDP(action_count=4), TabularMDP(horizon=9)]
    assert len({family.hash for family in families}) == 4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"horizon": 0}, "horizon=0 but it must be from 1 to 1,000"),
        ({"action_count": 1}, "action_count=1 but it must be from 2 to 1,000"),
        ({"states": 1000, "action_count": 2}, "at most 1,000,000 transitions"),
    ],
)
def test_settings_out_of_range_are_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        TabularMDP(**settings)
