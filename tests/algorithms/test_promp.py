"""ProMP: its meta-gradient on environments whose return is known exactly, PPO's clip, and its outer step."""

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from metarun.algorithms import ProMP
from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.algorithms.ppo import clipped_surrogate
from metarun.algorithms.promp import Sampled
from metarun.backbones import MLP
from metarun.data.environments.family import Discrete
from metarun.errors import UserError
from metarun.rl.advantages import Experience
from metarun.rl.stream import EnvironmentSource
from metarun.tasks.batch import TaskShape
from tests.rl.chain import HORIZON, Chain, exact_experience, exact_return
from tests.support.reference import import_learn2learn

SCALES = (1.3, 0.4)


def make(**changes):
    torch.manual_seed(0)
    return ProMP(MLP((2,), [4]), Discrete(2), inner_lr=0.7, **changes).double()


def sampled_exactly(method, horizon=HORIZON):
    """All trajectories of two tasks before each inner step and after the last, weighted by their probabilities."""
    weights, found = [dict(method.policy.weights) for _ in SCALES], []
    for step in range(method.inner_steps + 1):
        each = [
            exact_experience(method.policy, own, s, horizon=horizon) for own, s in zip(weights, SCALES, strict=True)
        ]
        seen = [Experience(*(field[0] for field in one)) for one in each]
        old = [
            method.policy.with_weights(own, one.observations).detach() for own, one in zip(weights, seen, strict=True)
        ]
        found.append(Sampled(Experience(*map(torch.cat, zip(*each, strict=True))), torch.stack(old)))
        if step < method.inner_steps:
            weights = [method.inner_step(own, one, step) for own, one in zip(weights, seen, strict=True)]
    return found


def gradient(method, sampled):
    each = torch.autograd.grad(method.outer_loss(sampled).mean(), list(method.policy.parameters()))
    return torch.cat([one.flatten() for one in each])


def slope(method, function, direction):
    """The derivative of a function of the weights along a direction, by finite differences."""
    start = parameters_to_vector(method.policy.parameters()).detach()
    values = []
    for distance in (1e-5, -1e-5):
        vector_to_parameters(start + distance * direction, method.policy.parameters())
        values.append(float(function()))
    vector_to_parameters(start, method.policy.parameters())
    return (values[0] - values[1]) / 2e-5


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_in_one_step_environments_the_meta_gradient_is_exact(inner_steps):
    """Also in how the weights decide what is explored, which MAML's code ignores."""
    method = make(inner_steps=inner_steps, later_inner_lr=0.4, kl_penalty=0.0)
    found = gradient(method, sampled_exactly(method, horizon=1))
    direction = found / found.norm()

    def mean_return():
        total = 0.0
        for scale in SCALES:
            own = {name: weight.detach().requires_grad_() for name, weight in method.policy.weights.items()}
            for rate in (0.7, 0.4)[:inner_steps]:
                rise = torch.autograd.grad(exact_return(method.policy, own, scale, horizon=1), list(own.values()))
                own = {
                    name: (w + rate * up).detach().requires_grad_()
                    for (name, w), up in zip(own.items(), rise, strict=True)
                }
            total += float(exact_return(method.policy, own, scale, horizon=1).detach()) / len(SCALES)
        return total

    assert float(found @ direction) == pytest.approx(-slope(method, mean_return, direction), rel=1e-6)


def test_the_meta_gradient_is_that_of_the_loss_with_the_penalty():
    method = make(inner_steps=2, kl_penalty=0.3)
    sampled = sampled_exactly(method)
    with torch.no_grad():  # where the ratios are not 1 and the divergence is not 0
        for weight in method.policy.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    found = gradient(method, sampled)
    direction = found / found.norm()
    assert float(found @ direction) == pytest.approx(
        slope(method, lambda: method.outer_loss(sampled).mean().detach(), direction), rel=1e-6
    )


@pytest.mark.peers
def test_the_meta_gradient_is_learn2learns():
    l2l = import_learn2learn()
    method = make(kl_penalty=0.0)
    (seen, _), (judged, _) = sampled = sampled_exactly(method)
    learner = l2l.algorithms.MAML(method.policy, lr=method.inner_lr)
    total = 0.0
    for i in range(len(SCALES)):

        def surrogate(network, batch, i=i):
            log_prob = network(batch.observations[i]).log_softmax(-1).gather(-1, batch.actions[i][:, None])[:, 0]
            ratio = log_prob.exp() / log_prob.exp().detach()
            return -(ratio * batch.advantages[i] * batch.alive[i]).sum() / batch.alive[i].sum()

        task = learner.clone()
        task.adapt(surrogate(task, seen))
        total = total + surrogate(task, judged) / len(SCALES)
    expected = torch.autograd.grad(total, list(method.policy.parameters()))
    torch.testing.assert_close(gradient(method, sampled), torch.cat([each.flatten() for each in expected]))


def test_what_the_clip_cuts_off():
    ratio = torch.tensor([1.1, 1.5, 1.5, 0.5, 0.5])
    advantages = torch.tensor([2.0, 2.0, -2.0, 2.0, -2.0])
    torch.testing.assert_close(clipped_surrogate(ratio, advantages, 0.3), torch.tensor([2.2, 2.6, -3.0, 1.0, -1.4]))


def test_the_penalty_holds_the_weights_back():
    moved = []
    for penalty in (0.0, 10.0):
        method = make(kl_penalty=penalty)
        before = sampled_exactly(method)
        method.improve([each.seen for each in before[:-1]], before[-1].seen, adam(method))
        after = method.policy(before[0].seen.observations[0])
        moved.append(method.policy.distribution.kl(before[0].parameters[0], after).mean())
    assert moved[1] < 0.5 * moved[0]


def adam(method, lr=0.02):
    return OuterOptimizer("adam", list(method.policy.parameters()), lr)


def test_chunks_of_tasks_give_the_same_step(monkeypatch):
    weights = []
    for size in (10**6, 40):
        monkeypatch.setattr("metarun.algorithms.policy_method.STEPS_AT_ONCE", size)
        method = make()
        before = sampled_exactly(method)
        method.improve([each.seen for each in before[:-1]], before[-1].seen, adam(method))
        weights.append(parameters_to_vector(method.policy.parameters()))
    torch.testing.assert_close(*weights)


def test_outer_steps_raise_the_return():
    method = make()
    optimizer = adam(method)
    source = EnvironmentSource(Chain())
    stream = source.environments("train", TaskShape(1, 30, 30), 0, torch.device("cpu"), torch.float64)
    before = exact_return(method.policy, method.policy.weights, 1.5)
    for i in range(4):
        method.outer_step(stream.draw(3 * i, 3), optimizer)
    assert exact_return(method.policy, method.policy.weights, 1.5) > before + 0.1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"outer_epochs": 0}, "algo.outer_epochs=0 but it must be at least 1"),
        ({"clip": 1.5}, "algo.clip=1.5 but it must be between 0 and 1"),
        ({"kl_penalty": -1.0}, "algo.kl_penalty=-1.0 but it must be at least 0"),
        ({"inner_steps": 0}, "algo.inner_steps=0 but it must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make(**changes)
