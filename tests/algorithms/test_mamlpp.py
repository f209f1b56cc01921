import copy
import math

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms import MAML, MAMLPlusPlus
from metarun.backbones import NORMS
from metarun.errors import UserError
from tests.support.gradients import (
    assert_equal_to,
    assert_meta_gradient_matches_finite_difference,
    flat,
    make_tasks,
    meta_gradient,
    perturbed,
    smooth,
)
from tests.support.markers import few_of
from tests.support.synthetic import make_conv4, run_by

OFF = {"learn_rates": False, "multi_step_until": 0.0, "per_step_norm": False, "second_order_from": 0.0}


def make_mamlpp(norm="batch", order=2, steps=3, how="auto", **switches) -> MAMLPlusPlus:
    torch.manual_seed(0)
    return run_by(how, MAMLPlusPlus(make_conv4(norm), 5, 0.125, steps, order, **{**OFF, **switches})).double()


@pytest.mark.cross
@pytest.mark.parametrize("norm", few_of(NORMS, "batch", "support", "layer"))
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_with_every_switch_off_it_equals_maml(steps, order, norm):
    ours, tasks = make_mamlpp(norm, order, steps), make_tasks()
    for parameter in [*ours.backbone.parameters(), *ours.head.parameters()]:
        parameter.data += 0.1 * torch.randn_like(parameter)
    maml = MAML(copy.deepcopy(ours.backbone), 5, 0.125, steps, order).double()
    maml.head = copy.deepcopy(ours.head)
    loss, theirs = ours.meta_loss(tasks), maml.meta_loss(tasks)
    torch.testing.assert_close(loss, theirs, rtol=1e-12, atol=0)
    learned = [parameter for parameter in ours.parameters() if parameter.requires_grad]
    ours_gradient = flat(torch.autograd.grad(loss, learned))
    theirs_gradient = flat(torch.autograd.grad(theirs, list(maml.parameters())))
    assert (ours_gradient - theirs_gradient).norm() < 1e-12 * theirs_gradient.norm()  # the order of sums differs
    torch.testing.assert_close(ours.eval().predict(tasks, 5), maml.eval().predict(tasks, 5), rtol=1e-12, atol=1e-12)


def test_each_layer_has_a_rate_for_each_step():
    mamlpp, tasks = perturbed(make_mamlpp("none", steps=2, learn_rates=True)), make_tasks(1)
    x, y = tasks.support_x[0], tasks.support_y[0]
    network = copy.deepcopy(mamlpp)
    weights = [*network.backbone.parameters(), *network.head.parameters()]
    for step in range(3):  # the third uses the rates of the second
        gradients = torch.autograd.grad(F.cross_entropy(network.head(network.backbone(x)), y), weights)
        for weight, gradient, rate in zip(weights, gradients, mamlpp.inner_lr, strict=True):
            weight.data -= rate[min(step, 1)].item() * gradient
    expected = network.head(network.backbone(tasks.query_x[0]))
    torch.testing.assert_close(mamlpp.predict(tasks, 3)[-1, 0], expected, rtol=1e-9, atol=1e-12)


def test_an_integer_rate_is_learned_too():
    rates = MAMLPlusPlus(make_conv4(), outputs=5, inner_lr=1, inner_steps=2).inner_lr
    assert all(rate.is_floating_point() and rate.requires_grad for rate in rates)


@pytest.mark.parametrize(
    ("fraction", "expected"),
    # the authors' code with 5 steps and 10 epochs, at epochs 0, 5, 9, 10
    [(0.0, [0.2] * 5), (0.05, [0.1] * 4 + [0.6]), (0.099, [0.006] * 4 + [0.976]), (0.1, [0] * 4 + [1])],
)
def test_the_multi_step_loss_moves_to_the_last_step(fraction, expected):
    mamlpp, tasks = make_mamlpp(steps=5, multi_step_until=0.1), make_tasks()
    mamlpp.on_step(fraction)
    assert mamlpp.importance() == pytest.approx(expected)
    logits = mamlpp.predict(tasks, 5)
    labels = tasks.query_y.flatten()
    losses = [F.cross_entropy(after.flatten(0, 1), labels) for after in logits[1:]]
    written_out = sum(share * loss for share, loss in zip(expected, losses, strict=True))
    torch.testing.assert_close(mamlpp.meta_loss(tasks), written_out)


def test_each_step_has_its_own_norm_which_no_task_adapts():
    mamlpp, tasks = perturbed(make_mamlpp(steps=2, per_step_norm=True)), make_tasks(1)
    before, first, second = mamlpp.inner_loop(tasks.support_x[0], tasks.support_y[0], 2, differentiable=False)
    name = "backbone.layers.0.1.affine.weight"
    assert torch.equal(before[name], mamlpp.backbone.layers[0][1].affine.weight)
    assert torch.equal(first[name], before[name])
    assert torch.equal(second[name], mamlpp.later_norms[0][0])
    assert not torch.equal(second[name], first[name])
    gradient = torch.autograd.grad(mamlpp.meta_loss(tasks), list(mamlpp.later_norms))
    assert all(g.any() for g in gradient[:-1:2]), "scales of the second step are learned"


def test_the_order_of_the_meta_gradient_changes_at_second_order_from():
    rising, tasks = make_mamlpp(second_order_from=0.5), make_tasks()

    def gradient(mamlpp):
        return torch.autograd.grad(mamlpp.meta_loss(tasks), mamlpp.head.weight)[0]

    rising.on_step(0.49)
    assert torch.equal(gradient(rising), gradient(make_mamlpp(order=1)))
    rising.on_step(0.5)
    assert torch.equal(gradient(rising), gradient(make_mamlpp(order=2)))


@pytest.mark.cross
@pytest.mark.parametrize("norm", few_of(NORMS, "batch", "support", "layer"))
def test_the_second_order_meta_gradient_matches_finite_differences(norm):
    mamlpp = smooth(perturbed(make_mamlpp(norm, learn_rates=True, multi_step_until=0.5, per_step_norm=True)))
    mamlpp.on_step(0.2)
    assert_meta_gradient_matches_finite_difference(mamlpp, make_tasks())


def test_looped_and_vectorised_agree_with_every_switch_on():
    on = {"learn_rates": True, "multi_step_until": 1.0, "per_step_norm": True, "second_order_from": 0.0}
    looped, vectorised = (perturbed(make_mamlpp(how=how, **on)) for how in ("loop", "vectorised"))
    assert_equal_to(meta_gradient(vectorised, make_tasks()), meta_gradient(looped, make_tasks()), 1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 3}, r"algo\.order=3 is not 1 \(first-order\) or 2 \(exact\)"),
        ({"inner_steps": 0}, r"algo\.inner_steps=0 but it must be at least 1"),
        ({"multi_step_until": 10}, r"algo\.multi_step_until=10 is not a fraction of the training"),
        ({"second_order_from": -math.inf}, r"algo\.second_order_from=-inf is not a fraction of the training"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        MAMLPlusPlus(make_conv4(), **{"outputs": 5, "inner_lr": 0.1, "inner_steps": 1, **arguments})
