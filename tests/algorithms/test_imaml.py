import copy
import itertools
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from metarun.algorithms import IMAML
from metarun.algorithms.imaml import conjugate_gradients
from metarun.errors import UserError
from tests.support.gradients import assert_equal_to, flat, make_tasks, meta_gradient, perturbed, smooth
from tests.support.synthetic import make_conv4, run_by


def make_imaml(norm="none", how="auto", prox=2.0, rate=0.1) -> IMAML:
    torch.manual_seed(0)
    return smooth(perturbed(run_by(how, IMAML(make_conv4(norm, filters=4), 3, rate, 150, prox, 30))))


def through_the_steps(imaml, tasks) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the query loss and its gradient through every inner step by torch's autograd."""
    network = nn.Sequential(OrderedDict(backbone=imaml.backbone, head=imaml.head))
    initial, losses = dict(imaml.named_parameters()), []
    for i in range(len(tasks)):
        weights = initial
        for _ in range(imaml.inner_steps):
            away = sum((weights[name] - initial[name]).square().sum() for name in weights)
            loss = F.cross_entropy(functional_call(network, weights, tasks.support_x[i]), tasks.support_y[i])
            gradients = torch.autograd.grad(loss + imaml.prox / 2 * away, list(weights.values()), create_graph=True)
            weights = {name: w - imaml.inner_lr * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
        losses.append(F.cross_entropy(functional_call(network, weights, tasks.query_x[i]), tasks.query_y[i]))
    loss = torch.stack(losses).mean()
    return loss, flat(torch.autograd.grad(loss, list(initial.values())))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["loop", "vectorised"])
@pytest.mark.parametrize(("norm", "prox", "rate"), [("none", 0.5, 0.1), ("none", 2.0, 0.1)])
def test_the_implicit_meta_gradient_equals_that_through_many_inner_steps(norm, prox, rate, how):
    imaml, tasks = make_imaml(norm, how, prox, rate), make_tasks(2, way=3)
    loss, gradient = through_the_steps(imaml, tasks)
    torch.testing.assert_close(imaml.meta_loss(tasks), loss, rtol=1e-9, atol=0)
    assert_equal_to(meta_gradient(imaml, tasks), gradient, 1e-3)
    first_order = copy.deepcopy(imaml)
    first_order.cg_steps = 0  # the solution of the system is then zero
    assert not meta_gradient(first_order, tasks).any()


def test_conjugate_gradients_solve_a_system_in_as_many_steps_as_unknowns():
    torch.manual_seed(0)
    root = torch.randn(5, 5, dtype=torch.float64)
    matrix, right = root @ root.T + torch.eye(5), torch.randn(5, dtype=torch.float64)
    for steps in (5, 50):  # further steps change nothing
        solution = conjugate_gradients(lambda x: {"x": matrix @ x["x"]}, {"x": right}, steps)["x"]
        torch.testing.assert_close(solution, torch.linalg.solve(matrix, right), rtol=1e-9, atol=1e-11)


def test_conjugate_gradients_stop_in_a_direction_of_negative_curvature():
    turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    matrix = turn @ torch.diag(torch.tensor([5.0, 2.0, 1.0, -0.3], dtype=torch.float64)) @ turn.T
    right = turn.sum(1)
    solutions = [conjugate_gradients(lambda x: {"x": matrix @ x["x"]}, {"x": right}, steps)["x"] for steps in range(9)]
    moves = [not torch.equal(*pair) for pair in itertools.pairwise(solutions)]
    assert moves == sorted(moves, reverse=True), "once it stops, it stays"
    assert moves[0]
    assert not moves[-1]


def test_adapted_weights_stay_near_the_initial_ones():
    tasks = make_tasks(1, way=3)

    def moved(prox):
        imaml = make_imaml(prox=prox)
        initial, *_, adapted = imaml.inner_loop(tasks.support_x[0], tasks.support_y[0], 50, differentiable=False)
        return (flat(adapted.values()) - flat(initial.values())).norm()

    assert moved(10.0) < moved(1.0) < moved(0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inner_steps": 0}, r"algo\.inner_steps=0 but it must be at least 1"),
        ({"prox": 0.0}, r"algo\.prox=0\.0 but it must be above 0"),
        ({"cg_steps": 0}, r"algo\.cg_steps=0 but conjugate gradients take at least 1"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    given = {"outputs": 5, "inner_lr": 0.1, "inner_steps": 1, "prox": 1.0, "cg_steps": 1}
    with pytest.raises(UserError, match=message):
        IMAML(make_conv4(), **{**given, **arguments})
