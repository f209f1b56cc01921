"""Poses of a robot: what is saved is read, what is damaged is a sentence, and both drawings show it."""

import re

import numpy as np
import pytest

from metarun.errors import UserError
from metarun.reporting.html.poses import draw_poses as as_svg
from metarun.reporting.plots.poses import draw_poses as as_figure
from metarun.results.robot_poses import RobotPoses, load, save

SECONDS = np.array([0, 1, 2], np.float32)


def poses(goal="run forward", from_above=False):
    """Return two policies, three frames, and two limbs from the floor to a height of 1 metre; the second one falls."""
    limb = np.array([[[0, 0], [1, 1]], [[0, 1], [1, 1]]], np.float32)
    lines = np.stack([limb + np.array([step * frame, 0]) for step in (1, 2) for frame in range(3)])
    lines = lines.reshape(2, 3, 2, 2, 2).astype(np.float32)
    lines[1, 2] = np.nan
    return RobotPoses(goal, lines, SECONDS, from_above)


def test_saved_poses_are_loaded(tmp_path):
    tasks = [poses(), poses("run backward")]
    save(tmp_path / "poses.npz", tasks)
    for saved, loaded in zip(tasks, load(tmp_path / "poses.npz"), strict=True):
        for name, value in vars(saved).items():
            np.testing.assert_array_equal(value, getattr(loaded, name))


@pytest.mark.parametrize(
    "change",
    [
        {"lines": np.full((1, 2, 3, 2, 2, 2), np.inf, np.float32)},
        {"lines": np.full((1, 2, 3, 2, 2, 2), np.nan, np.float32)},
        {"lines": np.zeros((1, 2, 3, 2, 2), np.float32)},
        {"lines": np.zeros((1, 2, 3, 2, 2, 2))},
        {"seconds": np.zeros(2, np.float32)},
        {"seconds": np.full(3, np.nan, np.float32)},
        {"goals": np.array(["a", "b"])},
        {"goals": np.array(["x" * 101])},
        {"from_above": np.array([True])},
    ],
)
def test_a_file_of_another_format_is_a_sentence(tmp_path, change):
    path = tmp_path / "poses.npz"
    save(path, [poses()])
    with np.load(path) as arrays:
        contents = dict(arrays)
    np.savez(path, **{**contents, **change})
    with pytest.raises(UserError, match=r"poses\.npz .*delete it, or run it again with force=true"):
        load(path)


def test_a_figure_has_a_column_for_each_task_and_a_row_for_each_policy():
    figure = as_figure([poses(), poses("run backward")], ["a note"], None)
    assert [axes.get_title("left") for axes in figure.axes] == ["1. run forward", "", "2. run backward", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["before", "after 1 step", "", ""]
    assert [len(axes.collections) for axes in figure.axes] == [3, 2, 3, 2]  # not after the end
    assert figure.axes[0].get_xlim() == pytest.approx((-0.1, 3.1))
    assert figure.axes[0].get_ylim() == pytest.approx((-0.1, 1.1))


@pytest.mark.parametrize("from_above", [False, True])
def test_the_report_draws_each_limb_of_each_frame_paler_the_earlier(from_above):
    drawn = str(as_svg(poses(from_above=from_above)))
    assert re.findall(r'class="robot" opacity="([\d.]+)"', drawn) == ["0.20", "0.60", "1.00", "0.20", "0.60"]
    assert all(name in drawn for name in ("run forward: before", "after 1 step"))
    assert ("seen from above" in poses(from_above=from_above).note) == from_above
