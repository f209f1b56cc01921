"""2D navigation by hand."""

import pytest
import torch

from metarun.data import Navigation2D
from metarun.errors import UserError


def goals(split, count=500):
    torch.manual_seed(0)
    return Navigation2D().for_split(split).parameters(torch.rand(count, 3, dtype=torch.float64))


def test_no_goal_of_one_split_is_in_a_cell_of_another():
    cells = [
        {tuple(cell) for cell in ((goals(split) + 0.5) * 50).long().tolist()} for split in ("train", "val", "test")
    ]
    assert not cells[0] & cells[1] | cells[0] & cells[2] | cells[1] & cells[2]
    families = [Navigation2D().for_split(split) for split in ("train", "val", "test")]
    assert sum(len(family.cells) for family in families) == 2500


@pytest.mark.parametrize("split", ["train", "test"])
def test_goals_fill_the_square(split):
    found = goals(split, 4000)
    assert (found.abs() <= 0.5).all()
    assert found.mean(0).abs().max() < 0.03
    torch.testing.assert_close(found.var(0), torch.full((2,), 1 / 12, dtype=torch.float64), atol=0.006, rtol=0)


def step(position, action, **settings):
    goal = torch.tensor([[0.3, 0.4]], dtype=torch.float64)
    state, action = (torch.tensor([[each]], dtype=torch.float64) for each in (position, action))
    position, _, reward, done = Navigation2D(**settings).step(goal, state, action, None)
    return position[0, 0].tolist(), float(reward), bool(done)


def test_a_step_is_a_tenth_of_the_action_and_at_most_a_tenth():
    assert step([0.0, 0.0], [0.5, -7.0])[0] == pytest.approx([0.05, -0.1])


def test_rewards():
    assert step([0.0, 0.0], [0.0, 0.0])[1:] == (pytest.approx(-0.5), False)
    assert step([0.0, 0.0], [0.0, 0.0], reward="squared")[1] == pytest.approx(-0.25)
    assert step([0.3, 0.3], [0.0, 0.0], reward="sparse")[1] == pytest.approx(0.5)
    assert step([0.0, 0.0], [0.0, 0.0], reward="sparse")[1] == 0


def test_a_trajectory_ends_near_the_goal_unless_the_reward_is_sparse():
    assert step([0.295, 0.395], [0.0, 0.0])[2]
    assert not step([0.285, 0.395], [0.0, 0.0])[2]
    assert not step([0.3, 0.4], [0.0, 0.0], reward="sparse")[2]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"horizon": 0}, "horizon=0 but it must be from 1 to 100,000; correct `data.horizon`"),
        ({"reward": "dense"}, "reward='dense' is not one of distance, squared, sparse"),
        ({"radius": 0.0}, r"radius=0\.0 but it must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        Navigation2D(**settings)
