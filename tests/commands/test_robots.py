"""Robots in whole commands."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.mujoco
SMALL = [
    *("data.horizon=10", "task.shot=4", "task.query=4", "test.tasks=4", "train.iterations=2", "device=cpu"),
    *("train.meta_batch=2", "train.validate_every=1", "train.validate_tasks=2"),
]


@pytest.mark.parametrize("data", ["halfcheetah_direction", "halfcheetah_velocity", "ant_direction"])
def test_a_robot_is_trained_tested_and_repeated_to_the_same_bits(metarun, data):
    assert metarun("train", "algo=maml_rl", f"data={data}", *SMALL).code == 0
    (path,) = Path("results/runs").glob("*/result.json")
    assert "return" in json.loads(path.read_text())
    assert "Reproduced bit for bit" in metarun("rerun", path.parent.name).out
    assert metarun("report").code == 0
    assert 'class="robot"' in Path("report.html").read_text()
    assert metarun("plot", "tasks", path.parent.name).code == 0
    assert data in metarun("data", "list").out
    assert "steps of 0.05 seconds, MuJoCo" in metarun("data", "check", data).out
