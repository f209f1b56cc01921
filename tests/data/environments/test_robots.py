"""Robots in MuJoCo: what they do is what gymnasium's do, and depends on nothing but the task and the numbers given."""

import numpy as np
import pytest
import torch

from metarun.backbones import MLP
from metarun.data import Locomotion
from metarun.data.environments.simulator import Simulator, model_file
from metarun.rl.policy import NetworkPolicy, PolicyNetwork
from metarun.rl.stream import EnvironmentSource
from metarun.tasks.batch import TaskShape

pytestmark = pytest.mark.mujoco
FORWARD = torch.tensor([[1.0, 0.0]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    """gymnasium lets MuJoCo write its warnings into the current folder."""
    monkeypatch.chdir(tmp_path)


def actions(steps, size, seed=0):
    torch.manual_seed(seed)
    return 2 * torch.rand(steps, size, dtype=torch.float64) - 1


def start(family, trajectories=1):
    torch.manual_seed(1)
    uniform = torch.rand(1, trajectories, family.uniforms_per_reset, dtype=torch.float64)
    return family.reset(FORWARD, uniform)


def beside_gymnasium(family, environment, steps):
    """Yield (ours, gymnasium's) observation, reward and end of each step from the same start, with the same actions."""
    state, _ = start(family)
    environment.reset(seed=0)
    unwrapped = environment.unwrapped
    positions, velocities = np.split(state.physics[0, 1:], [family.body.positions])
    unwrapped.set_state(positions, velocities)
    for action in actions(steps, family.actions.size):
        state, *ours = family.step(FORWARD, state, action[None, None], None)
        theirs = environment.step(action.numpy())
        yield [each[0, 0].numpy() for each in ours], theirs


def test_a_half_cheetah_is_gymnasiums():
    import gymnasium

    environment = gymnasium.make("HalfCheetah-v5", ctrl_cost_weight=0.05)
    for (observation, reward, done), theirs in beside_gymnasium(Locomotion(), environment, 20):
        np.testing.assert_allclose(observation, theirs[0], rtol=1e-5, atol=1e-6)
        assert reward == pytest.approx(theirs[1], abs=1e-5)
        assert not done
    environment.close()


def test_an_ant_is_gymnasiums_without_its_contact_forces():
    import gymnasium

    environment = gymnasium.make("Ant-v5")
    ant = Locomotion("ant", control_cost=0.005)
    ended = []
    for (observation, reward, done), theirs in beside_gymnasium(ant, environment, 20):
        np.testing.assert_allclose(observation, theirs[0][:27], rtol=1e-4, atol=1e-5)
        cost = 0.005 / 0.5 * -theirs[4]["reward_ctrl"]
        assert reward + cost - 0.05 == pytest.approx(theirs[4]["x_velocity"], abs=0.3)  # theirs is a substep late
        ended.append(bool(done) == theirs[2])
    assert all(ended)
    environment.close()


def test_the_start_is_the_rest_position_with_gymnasiums_noise():
    family = Locomotion()
    state, observation = start(family, 4000)
    positions, velocities = np.split(state.physics[:, 1:], [9], 1)
    assert np.abs(positions).max() <= 0.1
    assert positions.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)
    assert velocities.std() == pytest.approx(0.1, rel=0.02)
    np.testing.assert_array_equal(observation[0].numpy(), state.physics[:, 2:])


def test_the_time_of_a_step_is_frame_skip_steps_of_the_simulation():
    state, _ = start(Locomotion(frame_skip=3))
    action = torch.zeros(1, 1, 6, dtype=torch.float64)
    following, *_ = Locomotion(frame_skip=3).step(FORWARD, state, action, None)
    assert following.physics[0, 0] == pytest.approx(0.03)


@pytest.mark.parametrize(("robot", "observed"), [("halfcheetah", 17), ("ant", 27)])
def test_a_trajectory_has_the_same_bits_alone_and_in_a_batch(robot, observed):
    source = EnvironmentSource(Locomotion(robot, horizon=12))
    torch.manual_seed(0)
    policy = NetworkPolicy(PolicyNetwork(MLP((observed,), [8]), source.actions).double())

    def rewards(first, count, shot):
        stream = source.environments("train", TaskShape(1, shot, 2), 0, torch.device("cpu"), torch.float64)
        return stream.draw(first, count).explore(policy, 0).rewards

    together = rewards(0, 3, 5)
    assert together.equal(rewards(0, 3, 5))
    torch.testing.assert_close(rewards(2, 1, 2)[0], together[2, :2], rtol=1e-5, atol=1e-6)  # the network's last bits


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        simulator = Simulator(model_file("half_cheetah"))
        states = start(Locomotion(), 30)[0].physics
        controls = actions(30, 6).numpy()
        for _ in range(20):
            states, _ = simulator.advance(states, controls, 5)
        found.append(states)
    np.testing.assert_array_equal(*found)
    alone, _ = simulator.advance(states[7:8], controls[7:8], 5)
    np.testing.assert_array_equal(alone[0], simulator.advance(states, controls, 5)[0][7])


def test_an_unstable_simulation_ends_its_trajectory_alone_and_says_so(caplog, capfd, tmp_path):
    family = Locomotion()
    state, _ = start(family, 3)
    state.physics[1, 10:] = 1e12
    action = torch.zeros(1, 3, 6, dtype=torch.float64)
    following, observation, reward, done = family.step(FORWARD, state, action, None)
    assert done[0].tolist() == [False, True, False]
    assert reward[0, 1] == 0
    assert observation.isfinite().all()
    assert "halfcheetah_direction became unstable: 1 trajectory ended there" in caplog.text
    assert "(the first: task 0, trajectory 1, step 0 of 100)" in caplog.text
    again, *_ = family.step(FORWARD, following, action, None)
    np.testing.assert_array_equal(again.physics[1], following.physics[1])
    assert capfd.readouterr().err == ""  # nor does MuJoCo write its log into the current folder
    assert not list(tmp_path.iterdir())


def test_the_action_of_a_policy_that_diverged_has_no_reward():
    family = Locomotion()
    state, _ = start(family)
    _, observation, reward, _ = family.step(FORWARD, state, torch.full((1, 1, 6), torch.nan).double(), None)
    assert reward.isnan().all()
    assert observation.isfinite().all()


def test_an_ant_that_falls_ends_its_trajectory():
    ant = Locomotion("ant")
    state, _ = start(ant, 2)
    state.physics[0, 3] = 5.0
    _, _, _, done = ant.step(FORWARD, state, torch.zeros(1, 2, 8, dtype=torch.float64), None)
    assert done[0].tolist() == [True, False]


def test_the_hash_depends_on_the_settings():
    families = [Locomotion(), Locomotion(horizon=50), Locomotion(goal="velocity"), Locomotion("ant")]
    assert len({family.hash for family in families}) == 4


@pytest.mark.parametrize(("robot", "limbs", "at_rest"), [("halfcheetah", 8, (0, 0.7)), ("ant", 12, (0, 0.75))])
def test_the_pose_of_a_robot_is_where_its_limbs_are(robot, limbs, at_rest):
    family = Locomotion(robot)
    state = family.step(FORWARD, start(family, 2)[0], torch.zeros(1, 2, family.actions.size).double(), None)[0]
    ends = family._simulator.limbs(state.physics)
    assert ends.shape == (2, limbs, 2, 3)
    center = ends.mean((1, 2))
    np.testing.assert_allclose(center[:, [0, 2]], np.tile(at_rest, (2, 1)), atol=0.4)
    assert (np.abs(ends[..., 2].min((1, 2))) < 0.5).all()  # the feet are near the floor
    state.physics[:, 1] += 3  # a robot elsewhere has the same pose there
    moved = family.pose(state._replace(ended=np.array([False, True])))
    np.testing.assert_allclose(moved[0], ends[0][..., [0, 1] if robot == "ant" else [0, 2]] + [3, 0])
    assert np.isnan(moved[1]).all()


@pytest.mark.parametrize(
    ("family", "goal", "text"),
    [
        (Locomotion(), [-1.0, 0.0], "run backward"),
        (Locomotion(goal="velocity"), [1.234], "run at 1.23 m/s"),
        (Locomotion("ant", "heading"), [0.0, -1.0], "run at -90° from forward"),
    ],
)
def test_what_a_robot_should_do_is_a_text(family, goal, text):
    assert family.goal_texts(torch.tensor([goal])) == [text]
