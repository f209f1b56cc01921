"""Meta-World in whole commands."""

import json
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.metaworld
SMALL = [
    *("data.horizon=10", "task.shot=2", "task.query=2", "test.tasks=3", "train.iterations=2", "device=cpu"),
    *("train.meta_batch=2", "train.validate_every=1", "train.validate_tasks=2"),
]


@pytest.mark.parametrize("data", ["metaworld_ml1", "metaworld_ml10"])
def test_it_is_trained_tested_and_repeated_to_the_same_bits(metarun, data):
    assert metarun("train", "algo=maml_rl", f"data={data}", *SMALL).code == 0
    (path,) = Path("results/runs").glob("*/result.json")
    shares = json.loads(path.read_text())["success_by_step"]
    assert len(shares) == 2
    assert pd.read_parquet(path.with_name("tasks.parquet")).groupby("step")["success"].mean().tolist() == shares
    assert "Reproduced bit for bit" in metarun("rerun", path.parent.name).out
    assert metarun("report").code == 0
    assert 'class="trajectory"' in Path("report.html").read_text()
    assert data in metarun("data", "list").out
    assert "steps, Meta-World 3" in metarun("data", "check", data).out
