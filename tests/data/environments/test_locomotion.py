"""Goals and settings of robots, which need no simulator."""

import math

import pytest
import torch

from metarun.data import Locomotion
from metarun.data.environments import simulator
from metarun.errors import UserError

SPLITS = ("train", "val", "test")


def goals(split, count=500, **settings):
    torch.manual_seed(0)
    return Locomotion(**settings).for_split(split).parameters(torch.rand(count, 2, dtype=torch.float64))


@pytest.mark.parametrize("split", SPLITS)
def test_directions_are_forward_and_backward_in_every_split(split):
    found = goals(split, robot="ant")
    assert {tuple(goal) for goal in found.tolist()} == {(1.0, 0.0), (-1.0, 0.0)}
    assert abs(float(found[:, 0].mean())) < 0.15


def test_no_speed_of_one_split_is_in_a_cell_of_another_and_together_they_fill_the_range():
    cells = [set((50 * goals(split, 2000, goal="velocity")).long().flatten().tolist()) for split in SPLITS]
    assert sum(map(len, cells)) == len(set().union(*cells)) == 100


def test_headings_are_directions_of_length_1_and_differ_between_splits():
    found = [goals(split, robot="ant", goal="heading") for split in SPLITS]
    assert torch.cat(found).norm(dim=1) == pytest.approx(torch.ones(1500))
    angles = [(torch.atan2(each[:, 1], each[:, 0]) % (2 * math.pi) / (2 * math.pi) * 100).long() for each in found]
    assert not {*angles[0].tolist()} & {*angles[2].tolist()}


def test_the_reward_is_the_speed_in_the_direction_or_the_negative_difference_from_the_goal():
    velocity = torch.tensor([[[1.5, 2.0]], [[1.5, 2.0]]])
    progress = Locomotion(robot="ant", goal="heading")._progress(torch.tensor([[0.6, 0.8], [-1.0, 0.0]]), velocity)
    assert progress.flatten().tolist() == pytest.approx([2.5, -1.5])
    progress = Locomotion(goal="velocity")._progress(torch.tensor([[2.0], [0.5]]), velocity)
    assert progress.flatten().tolist() == pytest.approx([-0.5, -1.0])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"horizon": 0}, r"horizon=0 but it must be from 1 to 100,000; correct `data\.horizon`"),
        ({"frame_skip": 0}, r"frame_skip=0 but it must be from 1 to 100,000; correct `data\.frame_skip`"),
        ({"control_cost": -1.0}, r"control_cost=-1\.0 but it must be at least 0"),
        ({"robot": "humanoid"}, "robot='humanoid' is not one of halfcheetah, ant"),
        ({"goal": "heading"}, "goal='heading' is not one of halfcheetah's: direction, velocity"),
    ],
)
def test_settings_out_of_range_are_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        Locomotion(**settings)


def test_without_mujoco_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(simulator, "find_spec", lambda name: None)
    assert Locomotion().where() == "needs pip install 'metarun[mujoco]'"
    with pytest.raises(UserError, match=r"robots need gymnasium and mujoco; pip install 'metarun\[mujoco\]'"):
        Locomotion().load()
