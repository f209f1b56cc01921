import copy

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms import ANIL
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


def make_anil(norm="batch", order=2, steps=1, how="auto", downsample="stride") -> ANIL:
    torch.manual_seed(0)
    return perturbed(run_by(how, ANIL(make_conv4(norm, downsample), 5, inner_lr=0.3, inner_steps=steps, order=order)))


@pytest.mark.peers
@pytest.mark.cross
@pytest.mark.parametrize("how", ["loop", "vectorised"])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("shot", [1, 2])
def test_loss_meta_gradient_and_adapted_head_equal_learn2learn(shot, steps, order, norm, how):
    learn2learn = import_learn2learn()
    ours, tasks = make_anil(norm, order, steps, how), make_tasks(shot=shot)
    features = with_torchs_batch_norm(copy.deepcopy(ours.backbone))
    head = learn2learn.algorithms.MAML(copy.deepcopy(ours.head), lr=0.3, first_order=order == 1)
    losses = []
    for i in range(len(tasks)):
        learner, seen = head.clone(), features(tasks.support_x[i])
        for _ in range(steps):
            learner.adapt(F.cross_entropy(learner(seen), tasks.support_y[i]))
        losses.append(F.cross_entropy(learner(features(tasks.query_x[i])), tasks.query_y[i]))
    their_loss = torch.stack(losses).mean()
    their_gradient = flat(torch.autograd.grad(their_loss, [*features.parameters(), *head.parameters()]))

    torch.testing.assert_close(ours.meta_loss(tasks), their_loss, rtol=1e-9, atol=0)
    assert_equal_to(meta_gradient(ours, tasks), their_gradient)
    *_, adapted = ours.inner_loop(ours.backbone(tasks.support_x[-1]), tasks.support_y[-1], steps, differentiable=False)
    assert_equal_to(flat(adapted.values()), flat(learner.parameters()))


@pytest.mark.cross
@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("norm", few_of(NORMS, "batch", "support", "layer"))
@pytest.mark.parametrize("steps", [1, 5])
def test_the_second_order_meta_gradient_matches_finite_differences(steps, norm, downsample):
    assert_meta_gradient_matches_finite_difference(
        smooth(make_anil(norm, 2, steps, downsample=downsample)), make_tasks()
    )


def test_only_the_head_differs_between_tasks():
    anil, tasks = make_anil(steps=5), make_tasks()
    features = anil.backbone(tasks.query_x[0])
    *_, head = anil.inner_loop(anil.backbone(tasks.support_x[0]), tasks.support_y[0], 5, differentiable=False)
    expected = F.linear(features, head["weight"], head["bias"])
    torch.testing.assert_close(anil.predict(tasks, 5)[-1, 0], expected)
    assert not torch.equal(head["weight"], anil.head.weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 3}, r"algo\.order=3 is not 1 \(first-order\) or 2 \(exact\)"),
        ({"inner_steps": 0}, r"algo\.inner_steps=0 but it must be at least 1"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        ANIL(make_conv4(), **{"outputs": 5, "inner_lr": 0.1, "inner_steps": 1, **arguments})
