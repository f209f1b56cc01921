"""Ridge regression per task, against scikit-learn's, and the choice of its rate."""

import pytest
import torch
from sklearn.linear_model import Ridge

from metarun.evaluation.floor import floor
from metarun.evaluation.ridge import RATES, choose_rate, predict_by_ridge
from metarun.tasks.batch import TaskBatch, TaskShape


def make_tasks(shot: int = 5, inputs: int = 3, outputs: int = 2, noise: float = 0.0, count: int = 4) -> TaskBatch:
    """Linear functions with weights of their own."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, weights, offset = normal(count, shot + 6, inputs), normal(count, inputs, outputs), normal(count, 1, outputs)
    y = x @ weights + offset + noise * normal(count, shot + 6, outputs)
    return TaskBatch(x[:, :shot], y[:, :shot], x[:, shot:], y[:, shot:], way=1)


class Drawn:
    """A stream of some tasks."""

    shape, available = TaskShape(1, 5, 6), None

    def __init__(self, noise: float) -> None:
        self.tasks = make_tasks(noise=noise, count=200)

    def draw(self, first: int, count: int) -> TaskBatch:
        tasks, at = self.tasks, slice(first, first + count)
        return TaskBatch(tasks.support_x[at], tasks.support_y[at], tasks.query_x[at], tasks.query_y[at], way=1)


@pytest.mark.parametrize("rate", [1e-4, 0.3, 20.0])
@pytest.mark.parametrize(("shot", "inputs", "outputs"), [(5, 3, 2), (3, 8, 1), (1, 2, 2)])
def test_predictions_are_scikit_learns(shot, inputs, outputs, rate):
    tasks = make_tasks(shot, inputs, outputs)
    found = predict_by_ridge(tasks, rate)
    assert found.shape == (1, 4, 6, outputs)
    for t in range(4):
        theirs = Ridge(alpha=rate).fit(tasks.support_x[t].numpy(), tasks.support_y[t].numpy())
        expected = torch.from_numpy(theirs.predict(tasks.query_x[t].numpy())).reshape(6, outputs)
        torch.testing.assert_close(found[0, t], expected, rtol=1e-8, atol=1e-9)


def test_a_large_rate_leads_to_the_mean_of_the_support_targets():
    tasks = make_tasks()
    torch.testing.assert_close(predict_by_ridge(tasks, 1e12), floor(tasks), rtol=1e-9, atol=1e-9)


def test_the_rate_is_small_without_noise_and_larger_with_it():
    assert choose_rate(Drawn(noise=0.0)) == RATES[0]
    assert choose_rate(Drawn(noise=3.0)) >= 1.0
