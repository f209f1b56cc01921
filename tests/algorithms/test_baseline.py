"""Baseline's head compared with scikit-learn's LogisticRegression."""

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms import Baseline
from metarun.algorithms.solvers.logistic_regression import fit_logistic_regression
from tests.support.reference import import_sklearn
from tests.support.synthetic import make_conv4, make_stream


def scikit_learn_decision_values(support, labels, query, cost) -> torch.Tensor:
    sklearn = import_sklearn()
    head = sklearn.linear_model.LogisticRegression(C=cost, solver="newton-cholesky", tol=1e-14, max_iter=1000)
    head.fit(support.numpy(), labels.numpy())
    return torch.from_numpy(head.decision_function(query.numpy()))


def relative(ours, theirs) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.cross
@pytest.mark.parametrize(("way", "shot", "features"), [(3, 1, 4), (5, 1, 64), (5, 5, 64), (5, 5, 10), (20, 1, 40)])
@pytest.mark.parametrize("cost", [1.0, 10.0])
@pytest.mark.parametrize("length", [1.0, 5.0])
def test_decision_values_match_scikit_learn(way, shot, features, cost, length):
    torch.manual_seed(way + shot)
    labels = torch.arange(way).repeat_interleave(shot)[torch.randperm(way * shot)]
    support = torch.randn(way * shot, features, dtype=torch.float64) + torch.randn(way, features).double()[labels]
    support = length * F.normalize(support, dim=1)
    query = length * F.normalize(torch.randn(30, features, dtype=torch.float64), dim=1)
    weights, offsets = fit_logistic_regression(support, labels, way, cost)
    assert relative(query @ weights.T + offsets, scikit_learn_decision_values(support, labels, query, cost)) < 1e-9


@pytest.mark.cross
@pytest.mark.parametrize("way", [2, 5])
@pytest.mark.parametrize("cost", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("length", [0.1, 1.0, 30.0])
def test_the_gradient_of_the_objective_is_zero_at_the_solution(length, cost, way):
    torch.manual_seed(0)
    labels = torch.arange(way).repeat_interleave(5)
    support = length * torch.randn(5 * way, 32, dtype=torch.float64)
    head = [part.requires_grad_() for part in fit_logistic_regression(support, labels, way, cost)]

    def slope(weights, offsets) -> float:
        data = F.cross_entropy(support @ weights.T + offsets, labels, reduction="sum")
        parts = torch.autograd.grad(cost * data + 0.5 * weights.square().sum(), (weights, offsets))
        return torch.cat([part.flatten() for part in parts]).norm().item()

    assert slope(*head) < 1e-10 * slope(*(torch.zeros_like(part, requires_grad=True) for part in head))


def test_with_two_classes_scikit_learns_c_is_twice_as_large():
    torch.manual_seed(0)
    labels = torch.tensor([0, 1] * 5)
    support = torch.randn(10, 6, dtype=torch.float64) + labels[:, None]
    query = torch.randn(30, 6, dtype=torch.float64)
    weights, offsets = fit_logistic_regression(support, labels, 2, 1.0)
    ours = (query @ weights.T + offsets).diff(dim=1).squeeze(1)
    assert relative(ours, scikit_learn_decision_values(support, labels, query, 2.0)) < 1e-9


def test_repeated_examples_have_a_solution():
    support = torch.randn(2, 8, dtype=torch.float64).repeat_interleave(3, 0)
    weights, offsets = fit_logistic_regression(support, torch.tensor([0, 0, 0, 1, 1, 1]), 2, 1.0)
    assert (support @ weights.T + offsets).argmax(1).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.cross
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 4)])
def test_predictions_match_scikit_learn_on_the_features(way, shot, normalise):
    torch.manual_seed(0)
    cost = 1.0 if normalise else 1e6  # an untrained network's features are small
    baseline = Baseline(make_conv4("running"), 12, cost, normalise).double().eval()
    tasks = make_stream(way, shot, query=3, dtype=torch.float64).draw(0, 3)
    predictions = baseline.predict(tasks, 7)
    for t in range(3):
        support, query = (baseline.backbone(x[t]).detach() for x in (tasks.support_x, tasks.query_x))
        if normalise:
            support, query = (x / x.norm(dim=1, keepdim=True) for x in (support, query))
        theirs = scikit_learn_decision_values(support, tasks.support_y[t], query, cost)
        assert relative(predictions[0, t], theirs) < 1e-9
