"""Fine-tuning of a policy, and acting at random."""

import pytest
import torch

from metarun.algorithms import FineTuneRL, Multitask, RandomPolicy
from metarun.backbones import MLP
from metarun.data import Bandits, Navigation2D
from metarun.data.environments.family import Discrete
from metarun.errors import UserError
from metarun.rl.stream import EnvironmentSource
from metarun.tasks.batch import TaskShape
from tests.rl.chain import Chain, exact_return


def make(kind=FineTuneRL, **changes):
    torch.manual_seed(0)
    return kind(MLP((2,), [4]), Discrete(2), inner_lr=0.7, **changes).double()


def tasks(family, shot, count):
    source = EnvironmentSource(family)
    stream = source.environments("test", TaskShape(1, shot, shot), 0, torch.device("cpu"), torch.float64)
    return stream.draw(0, count)


def after_one_step(method, drawn):
    with torch.no_grad():
        *_, policy = method.adapt(drawn, 1)
    return policy.weights


def test_one_step_on_a_batch_is_that_of_the_multitask_policy():
    drawn = tasks(Chain(), 20, 2)
    one, other = (after_one_step(method, drawn) for method in (make(inner_epochs=1), make(Multitask)))
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], msg=name)


def test_more_steps_on_a_batch_raise_the_return_more():
    drawn = tasks(Chain(), 200, 1)
    returns = []
    for epochs in (1, 5):
        method = make(inner_epochs=epochs, clip=0.9)
        own = {name: weight[0] for name, weight in after_one_step(method, drawn).items()}
        returns.append(float(exact_return(method.policy, own, float(drawn.parameters[0, 0])).detach()))
    start = float(exact_return(method.policy, method.policy.weights, float(drawn.parameters[0, 0])).detach())
    assert start < returns[0] < returns[1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"inner_epochs": 0}, "algo.inner_epochs=0 but it must be at least 1"),
        ({"clip": 0.0}, "algo.clip=0.0 but it must be between 0 and 1"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make(**changes)


@pytest.mark.parametrize("family", [Bandits(arms=5), Navigation2D(horizon=50)], ids=["discrete", "continuous"])
def test_every_random_action_is_as_likely(family):
    method = RandomPolicy(MLP(family.shape, [4]), family.actions)
    (policy,) = method.adapt(drawn := tasks(family, 100, 5), 3)
    actions = drawn.judge(policy, 0).actions.double()
    if family.actions == Discrete(5):
        assert actions.unique().tolist() == [0, 1, 2, 3, 4]
    else:
        assert -1 <= float(actions.min()) < -0.99
        assert float(actions.mean()) == pytest.approx(0, abs=0.02)
        assert float(actions.var()) == pytest.approx(1 / 3, abs=0.02)
