"""MAML of a policy: its gradients on an environment whose return is known exactly, and TRPO's step on it."""

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from metarun.algorithms import MAMLRL, Multitask
from metarun.algorithms.trust_region import _Problem
from metarun.backbones import MLP
from metarun.data.environments.family import Continuous, Discrete
from metarun.errors import UserError
from metarun.rl.advantages import Experience
from metarun.rl.stream import EnvironmentSource
from metarun.rl.trajectories import Trajectories
from metarun.tasks.batch import TaskShape
from tests.rl.chain import HORIZON, Chain, exact_experience, exact_return
from tests.support.reference import import_learn2learn

SCALES = (1.3, 0.4)
ACTIONS = Discrete(2)


def make(kind=MAMLRL, actions=ACTIONS, **changes):
    torch.manual_seed(0)
    return kind(MLP((2,), [4]), actions, inner_lr=0.7, **changes).double()


def adapted(method, scale, inner_steps, weights=None):
    """Adapt on the exact expectation; the sampled trajectories are constants."""
    own = method.policy.weights if weights is None else weights
    sampled = dict(method.policy.weights)
    for step in range(inner_steps):
        seen = Experience(*(field[0] for field in exact_experience(method.policy, sampled, scale)))
        own = method.inner_step(own, seen, step, differentiable=True)
        sampled = method.inner_step(sampled, seen, step)
    return own


def problem(method, inner_steps):
    """The outer problem on all trajectories of two tasks, weighted by their probabilities."""
    explored, weights = [], [dict(method.policy.weights) for _ in SCALES]
    for step in range(inner_steps):
        each = [exact_experience(method.policy, own, scale) for own, scale in zip(weights, SCALES, strict=True)]
        explored.append(Experience(*map(torch.cat, zip(*each, strict=True))))
        weights = [
            method.inner_step(own, Experience(*(field[0] for field in seen)), step)
            for own, seen in zip(weights, each, strict=True)
        ]
    each = [exact_experience(method.policy, own, scale) for own, scale in zip(weights, SCALES, strict=True)]
    method.experience = lambda _: Experience(*map(torch.cat, zip(*each, strict=True)))
    empty = torch.zeros(len(SCALES), 8, HORIZON)
    return _Problem(method, method.adapted_parameters, explored, Trajectories(empty, empty, empty, empty), None)


def test_the_inner_gradient_is_that_of_the_expected_return():
    method = make()
    weights = {name: weight.detach().requires_grad_() for name, weight in method.policy.weights.items()}
    expected = torch.autograd.grad(exact_return(method.policy, weights, 1.3), list(weights.values()))
    moved = adapted(method, 1.3, 1)
    for (name, weight), slope in zip(weights.items(), expected, strict=True):
        # A policy gradient is a mean over steps, so it is the gradient of the return over the horizon.
        torch.testing.assert_close((moved[name] - weight) / method.inner_lr, slope / HORIZON, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_the_meta_gradient_is_that_of_the_expected_return_after_adaptation(inner_steps):
    method = make(inner_steps=inner_steps, later_inner_lr=0.4)
    gradient = problem(method, inner_steps).gradient()
    fixed = {scale: [] for scale in SCALES}  # what each inner step saw, which does not move with the weights
    for scale in SCALES:
        own = dict(method.policy.weights)
        for step in range(inner_steps):
            seen = Experience(*(field[0] for field in exact_experience(method.policy, own, scale)))
            fixed[scale].append(seen)
            own = method.inner_step(own, seen, step)
    start, direction = parameters_to_vector(method.policy.parameters()).detach(), gradient / gradient.norm()

    def mean_return(distance):
        vector_to_parameters(start + distance * direction, method.policy.parameters())
        total = 0.0
        for scale in SCALES:
            own = dict(method.policy.weights)
            for step, seen in enumerate(fixed[scale]):
                own = method.inner_step(own, seen, step)
            total += float(exact_return(method.policy, own, scale).detach()) / len(SCALES)
        return total

    slope = (mean_return(1e-5) - mean_return(-1e-5)) / 2e-5
    assert float(gradient @ direction) == pytest.approx(-slope / HORIZON, rel=1e-6)


def test_the_first_order_gradient_differs():
    second, first = problem(make(), 1).gradient(), problem(make(order=1), 1).gradient()
    assert not torch.allclose(first, second, rtol=1e-2)


@pytest.mark.peers
def test_the_meta_gradient_is_learn2learns():
    l2l = import_learn2learn()
    method = make()
    gradient = problem(method, 1).gradient()
    learner = l2l.algorithms.MAML(method.policy, lr=method.inner_lr)
    total = 0.0
    for scale in SCALES:
        seen = exact_experience(method.policy, dict(method.policy.weights), scale)

        def log_prob(network, batch):
            return network(batch.observations[0]).log_softmax(-1).gather(-1, batch.actions[0][:, None])[:, 0]

        task = learner.clone()
        task.adapt(-(log_prob(task, seen) * seen.advantages[0] * seen.alive[0]).sum() / seen.alive.sum())
        after = {name: weight.detach() for name, weight in task.module.named_parameters()}
        judged = exact_experience(method.policy, after, scale)
        ratio = (log_prob(task, judged) - log_prob(task, judged).detach()).exp()
        total = total - (ratio * judged.advantages[0] * judged.alive[0]).sum() / judged.alive.sum() / len(SCALES)
    expected = torch.autograd.grad(total, list(method.policy.parameters()))
    torch.testing.assert_close(gradient, torch.cat([each.flatten() for each in expected]), rtol=1e-9, atol=1e-12)


def test_the_curvature_is_the_hessian_of_the_mean_divergence():
    method = make()
    of_both = problem(method, 1)
    start = parameters_to_vector(method.policy.parameters()).detach()
    old = [exact.clone() for exact in of_both._old]
    _, judged = of_both._of(slice(0, 2))
    explored, _ = of_both._of(slice(0, 2))
    names = list(method.policy.weights)

    def divergence(vector):
        pieces = torch.split(vector, [method.policy.weights[name].numel() for name in names])
        weights = {name: p.view_as(method.policy.weights[name]) for name, p in zip(names, pieces, strict=True)}
        total = 0.0
        for task in range(2):
            seen = Experience(*(field[task] for field in explored[0]))
            own = method.inner_step(weights, seen, 0, differentiable=True)
            parameters = method.policy.with_weights(own, judged.observations[task])
            kl = method.policy.distribution.kl(old[0][task], parameters)
            total = total + (kl * judged.alive[task]).sum() / judged.alive[task].sum() / 2
        return total

    hessian = torch.autograd.functional.hessian(divergence, start)
    vector = torch.randn(len(start), dtype=torch.float64)
    torch.testing.assert_close(of_both.curvature(vector), hessian @ vector, rtol=1e-8, atol=1e-10)


def test_the_curvature_of_a_few_trajectories_is_that_of_policies_adapted_on_them():
    method, vector = make(), torch.ones(22, dtype=torch.float64)
    whole = problem(method, 1)
    few = problem(method, 1)
    few._steps = 2 * HORIZON
    cut = problem(method, 1)
    cut._seen = [seen.part(slice(None), 2 * HORIZON) for seen in cut._seen]
    torch.testing.assert_close(few.curvature(vector), cut.curvature(vector))
    assert not torch.allclose(few.curvature(vector), whole.curvature(vector))
    assert torch.equal(few.gradient(), whole.gradient()), "the gradient is of all trajectories"
    weights = 1.01 * parameters_to_vector(method.policy.parameters()).detach()
    assert few.evaluate(weights) == whole.evaluate(weights), "so are the surrogate and the divergence"


def stream(shot):
    source = EnvironmentSource(Chain())
    return source.environments("train", TaskShape(1, shot, shot), 0, torch.device("cpu"), torch.float64)


@pytest.mark.parametrize("kind", [MAMLRL, Multitask])
def test_outer_steps_raise_the_return(kind):
    method = make(kind, max_kl=0.05)
    before = exact_return(method.policy, method.policy.weights, 1.5)
    for i in range(4):
        method.outer_step(stream(shot=30).draw(3 * i, 3), None)
    assert exact_return(method.policy, method.policy.weights, 1.5) > before + 0.1


def test_a_method_without_memory_for_all_tasks_takes_them_in_chunks(monkeypatch):
    whole, parts = make(), make()
    gradients = []
    for method, size in ((whole, 10**6), (parts, 40)):
        monkeypatch.setattr("metarun.algorithms.policy_method.STEPS_AT_ONCE", size)
        tasks = problem(method, 1)
        assert len(tasks._parts) == (1 if size > 40 else 2)
        vector = torch.ones_like(tasks.gradient())
        gradients.append((tasks.gradient(), tasks.curvature(vector), tasks.curvature(vector)))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_kl": 0.0}, "algo.max_kl=0.0 but it must be above 0"),
        ({"discount": 1.5}, "algo.discount=1.5 but it must be from 0 to 1"),
        ({"initial_std": 0.0}, "algo.initial_std=0.0 but it must be above 0"),
        ({"inner_steps": 0}, "algo.inner_steps=0 but it must be at least 1"),
        ({"curvature_trajectories": 0}, "algo.curvature_trajectories=0 but it must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make(actions=Continuous(2), **changes)
