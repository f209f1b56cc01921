import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import MAML, MetaSGD
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
    with_torchs_batch_norm,
)
from tests.support.markers import few_of
from tests.support.reference import import_learn2learn
from tests.support.synthetic import make_conv4, run_by


def make_metasgd(norm="batch", order=2, steps=1, how="auto", downsample="stride") -> MetaSGD:
    torch.manual_seed(0)
    return perturbed(run_by(how, MetaSGD(make_conv4(norm, downsample), 5, 0.1, 0.4, steps, order)))


@pytest.mark.cross
@pytest.mark.peers
@pytest.mark.parametrize("how", ["loop", "vectorised"])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_loss_meta_gradient_and_adapted_weights_equal_learn2learn(steps, order, norm, how):
    learn2learn = import_learn2learn()
    ours, tasks = make_metasgd(norm, order, steps, how), make_tasks()
    network = with_torchs_batch_norm(nn.Sequential(copy.deepcopy(ours.backbone), copy.deepcopy(ours.head)))
    rates = nn.ParameterList(nn.Parameter(rate.detach().clone()) for rate in ours.inner_lr)
    theirs = learn2learn.algorithms.MetaSGD(network, first_order=order == 1, lrs=rates)
    losses = []
    for i in range(len(tasks)):
        learner = theirs.clone()
        for _ in range(steps):
            learner.adapt(F.cross_entropy(learner(tasks.support_x[i]), tasks.support_y[i]))
        losses.append(F.cross_entropy(learner(tasks.query_x[i]), tasks.query_y[i]))
    their_loss = torch.stack(losses).mean()
    their_gradient = flat(torch.autograd.grad(their_loss, [*theirs.module.parameters(), *theirs.lrs]))

    torch.testing.assert_close(ours.meta_loss(tasks), their_loss, rtol=1e-9, atol=0)
    assert_equal_to(meta_gradient(ours, tasks), their_gradient)
    *_, adapted = ours.inner_loop(tasks.support_x[-1], tasks.support_y[-1], steps, differentiable=False)
    assert_equal_to(flat(adapted.values()), flat(learner.module.parameters()))


@pytest.mark.cross
@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("norm", few_of(NORMS, "batch", "support", "layer"))
@pytest.mark.parametrize("steps", [1, 5])
def test_the_second_order_meta_gradient_matches_finite_differences(steps, norm, downsample):
    metasgd = smooth(make_metasgd(norm, 2, steps, downsample=downsample))
    for rate in metasgd.inner_lr:
        rate.data /= 4
    assert_meta_gradient_matches_finite_difference(metasgd, make_tasks())


def test_with_one_rate_for_all_it_equals_maml():
    torch.manual_seed(0)
    rates = {"inner_lr_min": 0.25, "inner_lr_max": 0.25}
    metasgd = run_by("vectorised", MetaSGD(make_conv4(), 5, **rates, inner_steps=3)).double()
    maml = run_by("vectorised", MAML(metasgd.backbone, 5, inner_lr=0.25, inner_steps=3)).double()
    tasks = make_tasks()
    maml.head = metasgd.head
    assert torch.equal(metasgd.predict(tasks, 4), maml.predict(tasks, 4))


def test_initial_rates_are_within_their_limits():
    rates = flat(MetaSGD(make_conv4(), 5, inner_lr_min=0.005, inner_lr_max=0.1).inner_lr)
    assert 0.005 <= rates.min() < 0.01
    assert 0.09 < rates.max() <= 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 3}, r"algo\.order=3 is not 1 \(first-order\) or 2 \(exact\)"),
        ({"inner_steps": 0}, r"algo\.inner_steps=0 but it must be at least 1"),
        ({"inner_lr_min": 0.2}, r"algo\.inner_lr_min=0\.2 is above algo\.inner_lr_max=0\.1"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        MetaSGD(make_conv4(), **{"outputs": 5, **arguments})
