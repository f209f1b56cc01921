"""Returns, baseline and advantages by hand."""

import pytest
import torch

from metarun.rl.advantages import discounted_sums, experience_of, generalised_advantages, linear_baseline
from metarun.rl.trajectories import Trajectories


def make(rewards, alive=None, observations=None):
    rewards = torch.tensor(rewards, dtype=torch.float64)[None]
    alive = torch.ones_like(rewards) if alive is None else torch.tensor(alive, dtype=torch.float64)[None]
    observations = torch.zeros(*rewards.shape, 1, dtype=torch.float64) if observations is None else observations
    return Trajectories(observations, torch.zeros(*rewards.shape, 1, dtype=torch.float64), rewards, alive)


def test_what_follows_is_discounted():
    assert discounted_sums(torch.tensor([[1.0, 2.0, 4.0]]), 0.5).tolist() == [[3.0, 4.0, 4.0]]


def test_advantages_are_between_the_error_of_one_step_and_the_return_minus_the_baseline():
    trajectories, expected = make([[1.0, 2.0, 4.0]]), torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.float64)
    whole = generalised_advantages(trajectories, expected, 0.5, 1.0)
    assert whole.tolist() == [[[3.0 - 1.0, 4.0 - 2.0, 4.0 - 3.0]]]
    one_step = generalised_advantages(trajectories, expected, 0.5, 0.0)
    assert one_step.tolist() == [[[1.0 + 1.0 - 1.0, 2.0 + 1.5 - 2.0, 4.0 - 3.0]]]


def test_the_baseline_is_exact_if_returns_are_linear_in_its_features():
    torch.manual_seed(0)
    observations = torch.randn(1, 30, 2, 1, dtype=torch.float64)
    trajectories = make((3 + 2 * observations[0, ..., 0] - observations[0, ..., 0] ** 2).tolist(), None, observations)
    torch.testing.assert_close(linear_baseline(trajectories, 0.0), trajectories.rewards, atol=1e-4, rtol=0)


def test_steps_after_the_end_do_not_count():
    short = experience_of(make([[1.0, 0.0, 0.0], [3.0, 2.0, 0.0]], [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), 0.9, 1.0)
    assert (short.advantages * (1 - short.alive) == 0).all()
    assert float(short.mean(short.advantages)) == pytest.approx(0, abs=1e-9)
    assert short.alive.sum() == 3
