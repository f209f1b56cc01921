import pytest
import torch

from metarun.algorithms import NeuralProcess, ProtoNet
from metarun.data import GaussianProcess
from metarun.evaluation import calibration
from metarun.evaluation.calibration import describe_distribution
from metarun.tasks.batch import TaskShape
from metarun.tasks.function_stream import FunctionTaskStream
from metarun.tasks.stream import StreamSpec
from tests.support.synthetic import make_conv4

NONE = torch.zeros(50, dtype=torch.bool)


class StandardNormal(NeuralProcess):
    """Predict N(0, sd^2) for every query, whatever the support set."""

    def __init__(self, sd=1.0):
        super().__init__(make_conv4(), outputs=1, min_sd=0.1)
        self.sd = sd

    def distribution(self, support_x, support_y, query_x):
        return torch.tensor([0.0, self.sd])[:, None, None].expand(2, len(query_x), 1)


@pytest.fixture
def draws():
    """Functions whose values are standard normal at every point."""
    family = GaussianProcess(lengthscale=(0.1, 0.1))
    return FunctionTaskStream(family, StreamSpec("test", TaskShape(1, 2, 40), 0, torch.device("cpu"), torch.float32))


def test_the_right_distribution_covers_nine_in_ten_targets_and_has_the_entropy_of_a_gaussian(draws):
    found = describe_distribution(StandardNormal(), draws, 50, NONE)
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.02)
    assert found["nll"] == pytest.approx(1.4189385, abs=0.1)  # ln(2 pi e) / 2
    assert found["nll_ci95"] < 0.1


def test_too_narrow_a_distribution_covers_less_and_is_less_likely(draws):
    right, narrow = (describe_distribution(StandardNormal(sd), draws, 50, NONE) for sd in (1.0, 0.3))
    assert narrow["coverage_90"] < 0.5 < right["coverage_90"]
    assert narrow["nll"] > right["nll"] + 1


def test_the_figures_are_means_over_the_tasks_that_did_not_diverge_in_chunks_of_any_size(draws, monkeypatch):
    diverged = torch.arange(50) >= 3
    some = describe_distribution(StandardNormal(), draws, 50, diverged)
    assert some == pytest.approx(describe_distribution(StandardNormal(), draws, 3, NONE[:3]))
    monkeypatch.setattr(calibration, "CHUNK_EXAMPLES", 100)  # two tasks at a time
    assert describe_distribution(StandardNormal(), draws, 50, diverged) == pytest.approx(some)


def test_a_method_that_predicts_no_distribution_has_no_such_figures(draws):
    assert describe_distribution(ProtoNet(make_conv4()), draws, 5, NONE[:5]) == {}
