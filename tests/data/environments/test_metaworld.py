"""Meta-World: what its environments do here is what they do there, and depends on nothing but the task."""

import numpy as np
import pytest
import torch

from metarun.data import SPLITS, MetaWorld
from metarun.data.environments import metaworld_arm as arm
from metarun.errors import UserError

ENVIRONMENTS = ["reach-v3", "drawer-close-v3"]  # in the second one a goal moves a body of the model


def actions(steps, shape, seed=0):
    torch.manual_seed(seed)
    return 2 * torch.rand(steps, *shape, 4, dtype=torch.float64) - 1


def roll_out(family, parameters, moves):
    """Return (steps, T, K, …) observations and rewards, and the last state."""
    state, observed = family.reset(parameters, torch.zeros(*moves.shape[1:3], 0))
    found, rewards = [observed], []
    for action in moves:
        state, observed, reward, _ = family.step(parameters, state, action, None)
        found.append(observed)
        rewards.append(reward)
    return torch.stack(found), torch.stack(rewards), state


@pytest.mark.metaworld
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_trajectories_are_those_of_meta_world_itself(environment):
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    family = MetaWorld(environment=environment).for_split("test")
    parameters = torch.tensor([[3.0], [7.0]], dtype=torch.float64)
    moves = actions(20, (2, 2))
    found, rewards, state = roll_out(family, parameters, moves)
    for task in range(2):
        theirs = ALL_V3_ENVIRONMENTS[environment]()
        theirs.set_task(arm._any_goal(type(theirs)))
        theirs._last_rand_vec = state.trajectories[2 * task].environment._last_rand_vec
        np.testing.assert_allclose(found[0, task, 1], theirs.reset()[0], atol=1e-9)
        for step, action in enumerate(moves[:, task, 1].numpy()):
            observation, reward, *_ = theirs.step(action)
            np.testing.assert_allclose(found[step + 1, task, 1], observation, atol=1e-6)
            assert rewards[step, task, 1] == pytest.approx(reward, abs=1e-6)


@pytest.mark.metaworld
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_trajectory_has_the_same_bits_alone_and_in_a_batch(environment):
    family = MetaWorld(environment=environment)
    parameters, moves = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64), actions(15, (3, 2))
    together = roll_out(family, parameters, moves)
    alone = roll_out(family, parameters[1:2], moves[:, 1:2, 1:])
    for ours, expected in zip(alone[:2], together[:2], strict=True):
        assert torch.equal(ours[:, 0, 0], expected[:, 1, 1])


@pytest.mark.metaworld
def test_goals_of_the_splits_are_disjoint_and_hidden():
    goals = [arm.start("reach-v3", number)[0].environment._target_pos for number in range(3 * 50)]
    assert len({goal.tobytes() for goal in goals}) == 150
    family = MetaWorld()
    for first, split in enumerate(SPLITS):
        own = family.for_split(split)
        parameters = own.parameters(torch.tensor([[0.0], [0.999999]], dtype=torch.float64))
        assert parameters.ravel().tolist() == [0, 49]
        state, observed = own.reset(parameters, torch.zeros(2, 1, 0))
        assert (observed[..., -3:] == 0).all()
        for trajectory, number in zip(state.trajectories, (0, 49), strict=True):
            assert (trajectory.environment._target_pos == goals[50 * first + number]).all()


@pytest.mark.metaworld
def test_the_hand_that_goes_to_the_goal_solves_the_task_and_is_drawn_there():
    family = MetaWorld(horizon=60)
    parameters = torch.tensor([[4.0]], dtype=torch.float64)
    state, observed = family.reset(parameters, torch.zeros(1, 2, 0))
    goal = torch.tensor(state.trajectories[0].environment._target_pos)
    seen = [observed]
    for _ in range(60):
        action = torch.zeros(1, 2, 4, dtype=torch.float64)
        action[0, 0, :3] = 10 * (goal - observed[0, 0, :3] + torch.tensor([0, 0, 0.045]))  # of the fingers
        state, observed, reward, done = family.step(parameters, state, action, None)
        seen.append(observed)
        assert not done.any()
    assert family.solved(state, parameters).tolist() == [[1, 0]]
    assert reward[0, 0] > 9.9 > reward[0, 1]
    drawn = family.in_plane(torch.stack(seen, 2))
    assert drawn[0, 0, 0].tolist() == [0, 0]
    torch.testing.assert_close(drawn[0, 0, -1], family.goals_in_plane(parameters)[0], atol=0.05, rtol=0)


@pytest.mark.metaworld
def test_the_action_of_a_policy_that_diverged_has_no_reward():
    family, parameters = MetaWorld(), torch.zeros(1, 1, dtype=torch.float64)
    state, _ = family.reset(parameters, torch.zeros(1, 2, 0))
    action = torch.zeros(1, 2, 4, dtype=torch.float64)
    action[0, 1, 2] = torch.nan
    _, observed, reward, _ = family.step(parameters, state, action, None)
    assert reward.isnan().tolist() == [[False, True]]
    assert observed.isfinite().all()


@pytest.mark.metaworld
def test_ml10_has_five_other_environments_in_meta_test():
    family = MetaWorld("ml10")
    train, val, test = map(family.environments, SPLITS)
    assert (len(train), len(test)) == (10, 5)
    assert train == val
    assert not {*train} & {*test}
    last = family.for_split("test").parameters(torch.tensor([[0.999999]], dtype=torch.float64))
    assert last.item() == 249
    _, observed = family.for_split("test").reset(last, torch.zeros(1, 1, 0))
    assert observed.shape == (1, 1, 39)
    assert "goals: 500 of meta-train, 500 of meta-val, 250 of meta-test" in family.check()


@pytest.mark.metaworld
def test_an_unknown_environment_is_a_sentence_with_the_known_ones():
    with pytest.raises(
        UserError, match=r"environment='reach' is not one of Meta-World's: .*reach-v3.*`data.environment`"
    ):
        MetaWorld(environment="reach").load()


@pytest.mark.metaworld
def test_the_hash_depends_on_the_settings():
    families = [MetaWorld(), MetaWorld(horizon=50), MetaWorld(environment="push-v3"), MetaWorld("ml10")]
    assert len({family.hash for family in families}) == 4


def test_without_metaworld_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(arm, "find_spec", lambda _: None)
    assert MetaWorld().where() == "needs pip install 'metarun[metaworld]'"
    with pytest.raises(UserError, match=r"need metaworld, .*pip install 'metarun\[metaworld\]'"):
        MetaWorld().load()


@pytest.mark.parametrize("settings", [{"horizon": 0}, {"horizon": 501}, {"benchmark": "ml45"}])
def test_settings_out_of_range_are_refused(settings):
    (key,) = settings
    with pytest.raises(UserError, match=f"correct `data.{key}`"):
        MetaWorld(**settings)
