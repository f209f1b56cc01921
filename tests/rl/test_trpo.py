"""TRPO's step against a dense solution."""

import pytest
import torch

from metarun.rl.trpo import DAMPING, conjugate_gradient, trust_region_step


@pytest.fixture
def system():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    return root @ root.T + torch.eye(6), torch.randn(6, generator=generator, dtype=torch.float64)


def test_the_conjugate_gradient_solves_a_system(system):
    matrix, b = system
    found = conjugate_gradient(lambda vector: matrix @ vector, b, 6)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, b))


def test_the_step_is_the_dense_natural_gradient_of_the_longest_length(system):
    matrix, gradient = system
    start = torch.zeros(6, dtype=torch.float64)
    step = trust_region_step(
        start,
        gradient,
        lambda vector: matrix @ vector,
        lambda weights: (float(gradient @ weights), float(weights @ matrix @ weights / 2)),
        max_kl=0.01,
    )
    damped = matrix + DAMPING * torch.eye(6)
    natural = torch.linalg.solve(damped, gradient)
    expected = -((0.02 / (gradient @ natural)) ** 0.5) * natural
    torch.testing.assert_close(step.weights, expected)
    assert step.accepted
    assert step.kl == pytest.approx(0.01, rel=1e-3)


def test_the_line_search_shortens_a_step_that_leaves_the_region_or_is_no_improvement(system):
    matrix, gradient = system
    start = torch.zeros(6, dtype=torch.float64)

    def curved(weights):  # four times the divergence that the curvature promises, and the loss rises again
        return float(gradient @ weights + 40 * weights @ weights), float(2 * weights @ matrix @ weights)

    step = trust_region_step(start, gradient, lambda vector: matrix @ vector, curved, max_kl=0.01)
    assert step.accepted
    assert step.kl <= 0.01
    assert curved(step.weights)[0] < 0


def test_without_an_improvement_the_weights_stay(system):
    matrix, gradient = system
    start = torch.ones(6, dtype=torch.float64)
    for slope in (gradient, torch.zeros_like(gradient), torch.full_like(gradient, torch.nan)):
        step = trust_region_step(start, slope, lambda vector: matrix @ vector, lambda _: (1.0, 0.0), max_kl=0.01)
        assert not step.accepted
        assert torch.equal(step.weights, start)
