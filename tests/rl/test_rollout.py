"""Trajectories are a pure function of the task, the policy and what they are for; bad environments are sentences."""

import pytest
import torch

from metarun.algorithms import MAMLRL
from metarun.backbones import MLP
from metarun.data import Navigation2D
from metarun.errors import UserError
from metarun.evaluation.returns import Oracle, evaluate_returns
from metarun.rl.policy import NetworkPolicy, Policy, PolicyNetwork
from metarun.rl.stream import EnvironmentSource
from metarun.tasks.batch import TaskShape

SHAPE = TaskShape(1, 3, 2)


def stream(family=None, split="train", seed=0, shape=SHAPE):
    return EnvironmentSource(family or Navigation2D(horizon=8)).environments(
        split, shape, seed, torch.device("cpu"), torch.float64
    )


def network():
    torch.manual_seed(0)
    return PolicyNetwork(MLP((2,), [5]), Navigation2D.actions).double()


class Still(Policy):
    """Does nothing."""

    def noise(self, uniform):
        return uniform

    def act(self, observation, noise):
        return torch.zeros_like(observation)


def test_trajectories_do_not_depend_on_the_other_tasks_or_on_how_many_trajectories_there_are():
    policy = NetworkPolicy(network())
    together, alone = stream().draw(0, 4), stream().draw(2, 1)
    more = stream(shape=TaskShape(1, 5, 2)).draw(2, 1)
    expected = together.explore(policy, 0).rewards[2]
    torch.testing.assert_close(alone.explore(policy, 0).rewards[0], expected)
    torch.testing.assert_close(more.explore(policy, 0).rewards[0, :3], expected)


def test_one_after_the_other_trajectories_have_the_random_numbers_that_they_have_together():
    policy, tasks = NetworkPolicy(network()), stream().draw(0, 2)
    together = tasks.explore(policy, 1)
    alone = [tasks.explore_once(policy, 1, number) for number in range(3)]
    torch.testing.assert_close(torch.cat([each.actions for each in alone], 1), together.actions)
    first, second, third = tasks.explore_once(policy, 1, 0, trials=3).actions.unbind(1)
    torch.testing.assert_close(first, together.actions[:, 0])
    assert len({float(each[0, 0, 0]) for each in (*together.actions.unbind(1), second, third)}) == 5


def test_the_meter_counts_what_a_policy_learned_from():
    tasks = stream().draw(0, 2)
    explored = tasks.explore(Still(), 0)
    tasks.judge(Still(), 0)
    (found,) = tasks.meter.explored
    assert found.equal(explored.returns.mean(1))
    assert tasks.meter.seconds > 0


def test_each_step_and_each_use_has_other_random_numbers():
    policy, tasks = NetworkPolicy(network()), stream().draw(0, 1)
    seen = [tasks.explore(policy, 0), tasks.explore(policy, 1), tasks.judge(policy, 0), tasks.judge(policy, 1)]
    assert len({float(each.rewards[0, 0].sum()) for each in seen}) == 4
    assert tasks.explore(policy, 0).rewards.equal(seen[0].rewards)


def test_weights_of_each_task_act_like_shared_ones():
    own = network()
    each = {name: weight.expand(2, *weight.shape) for name, weight in own.weights.items()}
    tasks = stream().draw(0, 2)
    one, other = (tasks.explore(policy, 0) for policy in (NetworkPolicy(own), NetworkPolicy(own, each)))
    torch.testing.assert_close(one.actions, other.actions)


def test_the_same_tasks_have_the_same_hash():
    assert stream().hash(5) == stream().hash(5)
    others = [stream(seed=1), stream(split="val"), stream(Navigation2D(horizon=9)), stream(shape=TaskShape(1, 3, 3))]
    assert len({each.hash(5) for each in [stream(), *others]}) == 5


class Broken(Navigation2D):
    """Returns what `wrong` says in the fourth step."""

    def __init__(self, wrong):
        super().__init__(horizon=5)
        self.wrong = wrong
        self.steps = 0

    def for_split(self, split):
        return self

    def step(self, parameters, state, action, uniform):
        state, observation, reward, done = super().step(parameters, state, action, uniform)
        self.steps += 1
        if self.wrong == "failure" and self.steps == 2:
            raise RuntimeError("the motor is hot")
        if self.wrong == "reward" and self.steps == 4:
            reward = reward / 0
        if self.wrong == "observation" and self.steps == 4:
            observation = observation * torch.nan
        return state, observation, reward[..., None] if self.wrong == "shape" else reward, done


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("reward", r"Broken\.step\(\) returns a reward that is not finite \(task 0, trajectory 0, step 3 of 5\)"),
        ("observation", r"Broken\.step\(\) returns an? observation that is not finite \(task 0, trajectory 0, step 4"),
        ("failure", r"Broken\.step\(\) failed \(RuntimeError: the motor is hot\)"),
        ("shape", r"Broken\.step\(\) returns rewards of shape \(2, 3, 1\) but it must be \(2, 3\)"),
    ],
)
def test_an_environment_that_returns_nonsense_is_a_sentence(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        stream(Broken(wrong)).draw(0, 2).explore(Still(), 0)


def test_a_policy_with_weights_that_are_not_finite_diverges_without_blaming_the_environment():
    broken = network()
    with torch.no_grad():
        broken.head.weight.fill_(torch.nan)
    assert stream().draw(0, 2).explore(NetworkPolicy(broken), 0).returns.isnan().all()


def test_no_trajectories_are_refused():
    with pytest.raises(UserError, match="shot=0 but a task needs at least 1"):
        TaskShape(1, 0, 2)


def test_tasks_of_environments_have_no_examples():
    source = EnvironmentSource(Navigation2D())
    with pytest.raises(UserError, match="navigation2d has environments to act in, and no examples"):
        source.stream("train", SHAPE, 0, torch.device("cpu"), torch.float32)


def test_the_oracle_has_the_highest_return():
    tasks = stream().draw(0, 20)
    best = tasks.judge(Oracle(tasks.family, tasks.parameters), 0).returns
    assert (best > tasks.judge(Still(), 0).returns).all()


class Solvable(Navigation2D):
    """Counts a trajectory as solved if it ends to the right of the origin."""

    def solved(self, state, parameters):
        return (state[..., 0] > 0).to(parameters.dtype)


def test_trajectories_say_whether_they_solved_their_task_where_the_environment_does():
    policy = NetworkPolicy(network())
    assert stream().draw(0, 2).judge(policy, 0).solved is None
    states = []
    judged = stream(Solvable(horizon=8)).draw(0, 2).judge(policy, 0, watch=states.append)
    assert len(states) == 9  # the start, and after each step
    torch.testing.assert_close(judged.observations, torch.stack(states[:-1], 2))
    assert judged.solved.tolist() == (states[-1][..., 0] > 0).double().tolist()
    assert judged.of_tasks(slice(1, 2)).solved.tolist() == judged.solved[1:].tolist()


def test_the_share_of_solved_trajectories_is_measured_before_and_after_each_step():
    method = MAMLRL(MLP((2,), [5]), Navigation2D.actions, inner_lr=0.1).double()
    shares = evaluate_returns(method, stream(Solvable(horizon=8), shape=TaskShape(1, 4, 4)), 3, 2).values["success"]
    assert shares.shape == (3, 3)
    assert set(shares.ravel().tolist()) <= {0, 0.25, 0.5, 0.75, 1}
    assert "success" not in evaluate_returns(method, stream(), 1, 0).values
