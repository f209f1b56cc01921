"""RL^2: what it remembers, and its gradient where the return of a trial is known exactly."""

import itertools

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from metarun.algorithms import RL2
from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.algorithms.rl2 import Trials
from metarun.backbones import MLP
from metarun.data import Bandits, Navigation2D
from metarun.data.environments.family import Discrete
from metarun.errors import UserError
from metarun.rl.recurrent import RecurrentPolicy
from metarun.rl.stream import EnvironmentSource
from metarun.rl.trajectories import Trajectories
from metarun.tasks.batch import TaskShape
from tests.rl.chain import HORIZON, every_trajectory


def make(shape=(2,), actions=None, units=6, **changes):
    torch.manual_seed(0)
    return RL2(MLP(shape, [5]), actions or Navigation2D.actions, units=units, **changes).double()


def stream(family, shot=3, query=2):
    return EnvironmentSource(family).environments(
        "train", TaskShape(1, shot, query), 0, torch.device("cpu"), torch.float64
    )


class Short(Navigation2D):
    """Trajectories end early, each at its own time."""

    def step(self, parameters, state, action, uniform):
        position, observation, reward, _ = super().step(parameters, state, action, uniform)
        return position, observation, reward, position.norm(dim=-1) > 0.15


def trials_of(method, tasks):
    """The trials of two trajectories in each of two tasks, three side by side."""
    memory, episodes = None, []
    for number in range(2):
        policy = RecurrentPolicy(method.network, memory)
        episodes.append((tasks.explore_once(policy, 0, number, trials=3), policy))
        memory = policy.memory_after
    return Trials.of([(found, torch.stack(policy.sequence, 2)) for found, policy in episodes]), episodes


def test_the_network_sees_a_whole_trial_as_it_did_step_by_step(monkeypatch):
    method, acted = make(), []
    forward = method.network.forward
    monkeypatch.setattr(method.network, "forward", lambda *args: acted.append(forward(*args)) or acted[-1])
    trials, episodes = trials_of(method, stream(Short(horizon=6)).draw(0, 2))
    alive = torch.cat([found.alive for found, _ in episodes], 2).flatten(0, 1) > 0
    by_step = torch.stack([parameters[:, 0] for parameters, *_ in acted], 1)  # (6, 12, P), also after the end
    parameters, _ = method.of_trials(trials)
    assert len(alive.sum(1).unique()) > 1  # they have different lengths
    for i, taken in enumerate(alive):
        torch.testing.assert_close(by_step[i, taken], parameters[i, : taken.sum()])
    assert trials.before[:, 0].abs().max() == 0  # nothing was done before the first step
    assert (trials.before[..., -1] * trials.alive).sum(1).tolist() == [1] * 6  # one of two ended before the trial did


def test_the_state_goes_on_across_trajectories_and_judging_changes_nothing():
    method = make()
    tasks = stream(Navigation2D(horizon=4)).draw(0, 2)
    before, after = method.adapt(tasks, 1)
    first = tasks.judge(after, 1)
    assert tasks.judge(after, 1).rewards.equal(first.rewards)
    assert before.memory is None
    memory = None
    for number in range(3):
        policy = RecurrentPolicy(method.network, memory)
        tasks.explore_once(policy, 0, number)
        memory = policy.memory_after
    torch.testing.assert_close(after.memory, memory)
    assert memory.before[..., -1].eq(1).all()


def test_a_task_does_not_depend_on_the_others():
    method = make()
    *_, together = method.adapt(stream(Navigation2D(horizon=4)).draw(0, 3), 1)
    *_, alone = method.adapt(stream(Navigation2D(horizon=4)).draw(2, 1), 1)
    torch.testing.assert_close(together.memory.hidden[2], alone.memory.hidden[0])


def every_trial(method):
    """All 64 trials of two trajectories in the chain, and the probability of each."""
    observations, actions, rewards = every_trajectory(1.3)
    pairs = torch.tensor(list(itertools.product(range(8), repeat=2)))  # (64, 2)
    obs, act, gained = (each[pairs].flatten(1, 2) for each in (observations, actions, rewards))
    done = torch.zeros_like(gained)
    done[:, HORIZON - 1] = 1
    before = method.network.before(act, gained, done)
    before = torch.cat([torch.zeros_like(before[:, :1]), before[:, :-1]], 1)
    trials = Trials(obs, before, act, gained, torch.ones_like(gained))
    parameters, _ = method.of_trials(trials)
    return trials, method.network.distribution.log_prob(parameters, act).sum(1).exp()


def test_the_gradient_is_that_of_the_expected_return_of_a_trial():
    method = make(actions=Discrete(2), value_loss=0.0)
    trials, probability = every_trial(method)
    assert float(probability.sum().detach()) == pytest.approx(1)
    to_go = trials.rewards.flip(1).cumsum(1).flip(1)
    old = method.of_trials(trials)[0].detach()
    loss = method.outer_loss(trials, old, to_go * probability.detach()[:, None], to_go)
    learned = [weight for name, weight in method.network.named_parameters() if not name.startswith("value")]
    found = torch.cat([each.flatten() for each in torch.autograd.grad(loss, learned)])
    direction, start = found / found.norm(), parameters_to_vector(learned).detach()
    values = []
    for distance in (1e-5, -1e-5):
        vector_to_parameters(start + distance * direction, learned)
        values.append(float((every_trial(method)[1] * trials.rewards.sum(1)).sum().detach()))
    assert float(found @ direction) == pytest.approx(-(values[0] - values[1]) / 2e-5, rel=1e-6)


def test_advantages_by_hand():
    method = make(actions=Discrete(2), discount=0.5, gae_lambda=0.5)
    trials = Trials(None, None, None, torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]]))
    advantages, targets = method.advantages(trials, torch.tensor([[0.5, 1.0, 9.0]]))
    # Errors: 1 + 0.5 * 1 - 0.5 = 1 and 2 - 1 = 1; advantages 1 + 0.25 * 1 and 1, of mean 1.125 and deviation 0.125.
    torch.testing.assert_close(advantages, torch.tensor([[1.0, -1.0, 0.0]]))
    torch.testing.assert_close(targets[:, :2], torch.tensor([[1.75, 2.0]]))


def test_chunks_of_trials_give_the_same_step(monkeypatch):
    weights = []
    for size in (10**6, 12):
        monkeypatch.setattr("metarun.algorithms.rl2.STEPS_AT_ONCE", size)
        method = make()
        trials, _ = trials_of(method, stream(Short(horizon=6)).draw(0, 2))
        method.improve(trials, OuterOptimizer("adam", list(method.parameters()), 0.01))
        weights.append(parameters_to_vector(method.parameters()))
    torch.testing.assert_close(*weights)


class OneArmPays(Bandits):
    """One of two arms always pays, the other never: one pull is enough to know which."""

    def parameters(self, uniform):
        return torch.stack([uniform[:, 0] < 0.5, uniform[:, 0] >= 0.5], 1).double()


def test_outer_steps_learn_to_remember_which_arm_pays():
    family = OneArmPays(arms=2)
    method = make((1,), family.actions, units=16)
    optimizer = OuterOptimizer("adam", list(method.parameters()), 0.02)
    tasks = stream(family, shot=5, query=1)
    for i in range(20):
        loss = method.outer_step(tasks.draw(50 * i, 50), optimizer)
    assert -float(loss) > 0.7  # at random it is 0.5; with a perfect memory it is 0.9


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"units": 0}, "algo.units=0 but it must be at least 1"),
        ({"entropy": -1.0}, "algo.entropy=-1.0 but it must be at least 0"),
        ({"gae_lambda": 2.0}, "algo.gae_lambda=2.0 but it must be from 0 to 1"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make(**changes)


def test_trials_are_joined_by_hand():
    alive = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 1.0]]])
    rewards = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[2.0, 3.0]]])
    episodes = [(Trajectories(r[..., None], r.long(), r, a), r[..., None]) for r, a in zip(rewards, alive, strict=True)]
    assert Trials.of(episodes).rewards.tolist() == [[1, 2, 3]]
