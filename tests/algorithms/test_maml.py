import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import MAML
from metarun.algorithms.inner_loop import loss_with_weights
from metarun.backbones import MLP, NORMS
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.source import task_source
from tests.support.gradients import (
    assert_equal_to,
    assert_meta_gradient_matches_finite_difference,
    make_tasks,
    meta_gradient,
    perturbed,
    smooth,
    with_torchs_batch_norm,
)
from tests.support.reference import import_learn2learn
from tests.support.synthetic import make_conv4, run_by

ROOT = Path(__file__).parents[2]


def make_maml(norm="batch", order=2, steps=1, how="auto", downsample="stride", way=5) -> MAML:
    torch.manual_seed(0)
    maml = MAML(make_conv4(norm, downsample), way, inner_lr=0.3, inner_steps=steps, order=order)
    return perturbed(run_by(how, maml))


@pytest.mark.peers
@pytest.mark.cross
@pytest.mark.parametrize("how", ["loop", "vectorised"])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 5])
def test_loss_meta_gradient_and_adapted_weights_equal_learn2learn(steps, order, norm, how):
    learn2learn = import_learn2learn()
    ours, tasks = make_maml(norm, order, steps, how), make_tasks()
    network = with_torchs_batch_norm(nn.Sequential(copy.deepcopy(ours.backbone), copy.deepcopy(ours.head)))
    theirs = learn2learn.algorithms.MAML(network, lr=0.3, first_order=order == 1)
    losses = []
    for i in range(len(tasks)):
        learner = theirs.clone()
        for _ in range(steps):
            learner.adapt(F.cross_entropy(learner(tasks.support_x[i]), tasks.support_y[i]))
        losses.append(F.cross_entropy(learner(tasks.query_x[i]), tasks.query_y[i]))
    their_loss = torch.stack(losses).mean()
    their_gradient = torch.cat([g.flatten() for g in torch.autograd.grad(their_loss, list(theirs.parameters()))])

    torch.testing.assert_close(ours.meta_loss(tasks), their_loss, rtol=1e-9, atol=0)
    assert_equal_to(meta_gradient(ours, tasks), their_gradient)
    *_, adapted = ours.inner_loop(tasks.support_x[-1], tasks.support_y[-1], steps, differentiable=False)
    their_weights = torch.cat([weight.flatten() for weight in learner.parameters()])
    assert_equal_to(torch.cat([weight.flatten() for weight in adapted.values()]), their_weights)


@pytest.mark.cross
@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 5])
def test_the_second_order_meta_gradient_matches_finite_differences(steps, norm, downsample):
    maml, tasks = smooth(make_maml(norm, 2, steps, downsample=downsample)), make_tasks()
    maml.inner_lr = 0.1
    assert_meta_gradient_matches_finite_difference(maml, tasks)


@pytest.mark.cross
@pytest.mark.parametrize(("norm", "how"), [(norm, how) for norm in NORMS for how in ("loop", "vectorised")])
@pytest.mark.parametrize("steps", [1, 4])
def test_recomputing_the_inner_steps_gives_the_same_meta_gradient(steps, norm, how):
    if (norm, how) == ("running", "vectorised"):
        how = "auto"
    plain, recomputed, tasks = make_maml(norm, 2, steps, how), make_maml(norm, 2, steps, how), make_tasks()
    recomputed.recompute = True
    torch.testing.assert_close(recomputed.meta_loss(tasks), plain.meta_loss(tasks), rtol=1e-12, atol=0)
    assert_equal_to(meta_gradient(recomputed, tasks), meta_gradient(plain, tasks), 1e-10)
    for ours, theirs in zip(recomputed.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


PEAK = """
import sys, torch
from pathlib import Path
from metarun.algorithms import MAML
from metarun.backbones import Conv4
from tests.support.synthetic import make_stream

def peak():  # of this process in KiB; getrusage includes that of the parent that it was forked from
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

torch.manual_seed(0)
steps, recompute = int(sys.argv[1]), sys.argv[2] == "recompute"
tasks = make_stream(5, 5, query=1, shape=(1, 28, 28)).draw(0, 4)
maml = MAML(Conv4((1, 28, 28), 32), 5, 0.1, 1, recompute=recompute)
maml.how = "loop"
maml.meta_loss(tasks).backward()
before = peak()
maml.inner_steps = steps
maml.meta_loss(tasks).backward()
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux")
def test_recomputing_needs_the_memory_of_one_step():
    def more_than_one_step(steps: int, how: str) -> int:  # KiB
        words = [sys.executable, "-c", PEAK, str(steps), how]
        return int(subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout)

    plain = [more_than_one_step(steps, "plain") for steps in (3, 9)]
    recomputed = [more_than_one_step(steps, "recompute") for steps in (3, 9)]
    assert 3 < plain[1] / plain[0] < 5, "linear in the steps: 8 more than one against 2"
    assert recomputed[1] < plain[1] / 5


@pytest.mark.cross
@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "running"])
@pytest.mark.parametrize("order", [1, 2])
def test_looped_and_vectorised_agree(order, norm):
    tasks = make_tasks()
    looped, vectorised = make_maml(norm, order, 3, "loop"), make_maml(norm, order, 3, "vectorised")
    assert_equal_to(meta_gradient(vectorised, tasks), meta_gradient(looped, tasks), 1e-10)
    torch.testing.assert_close(vectorised.predict(tasks, 4), looped.predict(tasks, 4), rtol=1e-10, atol=1e-12)


def test_first_and_second_order_differ():
    tasks = make_tasks()
    first, second = (meta_gradient(make_maml(order=order), tasks) for order in (1, 2))
    assert ((first - second).norm() / second.norm()).item() > 0.01


def test_only_meta_training_updates_running_statistics():
    maml, tasks = make_maml("running"), make_tasks()
    before = copy.deepcopy(dict(maml.named_buffers()))
    maml.eval().predict(tasks, 2)
    assert all(torch.equal(before[name], buffer) for name, buffer in maml.named_buffers())
    maml.train().meta_loss(tasks)
    assert not torch.equal(before["backbone.layers.0.1.running_mean"], maml.backbone.layers[0][1].running_mean)


def test_running_statistics_cannot_be_vectorised_in_meta_training():
    with pytest.raises(UserError, match=r"train\.over_tasks=vectorised cannot update running statistics"):
        make_maml("running", how="vectorised").meta_loss(make_tasks())


def test_predictions_cover_each_step():
    maml, tasks = make_maml().eval(), make_tasks(way=3, count=2)
    maml = MAML(maml.backbone, 3, 0.3, 1).double().eval()
    predictions = maml.predict(tasks, 4)
    assert predictions.shape == (5, 2, 6, 3)
    assert not predictions.requires_grad
    torch.testing.assert_close(predictions[0, 1], maml.head(maml.backbone(tasks.query_x[1])).detach())
    assert not torch.equal(predictions[0], predictions[1]), "no_grad must not stop the adaptation"
    torch.testing.assert_close(predictions[:3], maml.predict(tasks, 2))


def test_adaptation_lowers_the_support_loss():
    maml, tasks = make_maml().eval(), make_tasks()
    losses = [
        loss_with_weights(maml.backbone, weights, {}, tasks.support_x[0], tasks.support_y[0]).item()
        for weights in maml.inner_loop(tasks.support_x[0], tasks.support_y[0], 5, differentiable=False)
    ]
    assert losses == sorted(losses, reverse=True)


def test_predictions_do_not_depend_on_other_tasks():
    maml, tasks = make_maml(how="vectorised").eval(), make_tasks(4)
    alone = TaskBatch(*(t[2:3] for t in (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)), tasks.way)
    torch.testing.assert_close(maml.predict(tasks, 2)[:, 2:3], maml.predict(alone, 2), rtol=1e-10, atol=1e-12)


def test_the_meta_gradient_on_sinusoids_matches_finite_differences():
    from metarun.data import Sinusoid

    torch.manual_seed(0)
    maml = MAML(MLP((1,), [40, 40]), 1, inner_lr=0.01, inner_steps=1).double()
    stream = task_source(Sinusoid()).stream("train", TaskShape(1, 10, 10), 0, torch.device("cpu"), torch.float64)
    tasks = stream.draw(0, 5)
    (gradient,) = torch.autograd.grad(maml.meta_loss(tasks), maml.head.bias)
    h = 1e-6

    def loss_at(step):
        moved = copy.deepcopy(maml)
        moved.head.bias.data += step
        return moved.meta_loss(tasks).item()

    assert gradient.item() == pytest.approx((loss_at(h) - loss_at(-h)) / (2 * h), rel=1e-6)


@pytest.mark.parametrize(("how", "recompute"), [("loop", False), ("vectorised", True)])
def test_without_inner_steps_the_gradient_is_that_of_pre_training_on_all_queries(how, recompute):
    maml, tasks = make_maml("none", steps=0, how=how), make_tasks()
    maml.recompute = recompute
    plain = nn.Sequential(copy.deepcopy(maml.backbone), copy.deepcopy(maml.head))
    loss = F.cross_entropy(plain(tasks.query_x.flatten(0, 1)), tasks.query_y.flatten())
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(plain.parameters()))])
    torch.testing.assert_close(maml.meta_loss(tasks), loss, rtol=1e-9, atol=0)
    assert_equal_to(meta_gradient(maml, tasks), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 3}, r"algo\.order=3 is not 1 \(first-order\) or 2 \(exact\)"),
        ({"inner_steps": -1}, r"algo\.inner_steps=-1 but it must be at least 0"),
        ({"inner_steps": 10**9}, r"algo\.inner_steps=1,000,000,000 but the limit is 100,000 steps per task"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        MAML(make_conv4(), **{"outputs": 5, "inner_lr": 0.1, "inner_steps": 1, **arguments})
