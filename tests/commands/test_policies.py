"""Reinforcement learning in whole commands."""

import json
from pathlib import Path

SMALL = [
    *("data=navigation2d", "data.horizon=10", "task.shot=4", "task.query=4", "test.tasks=4", "train.iterations=2"),
    *("train.meta_batch=2", "train.validate_every=1", "train.validate_tasks=2"),
]


def test_a_policy_is_trained_and_tested_and_takes_no_examples(metarun, tmp_path):
    assert metarun("train", "algo=maml_rl", *SMALL).code == 0
    (path,) = Path("results/runs").glob("*/result.json")
    run = json.loads(path.read_text())
    assert run["algo"] == "maml_rl"
    assert metarun("test", "run=last", "algo=multitask", "test.tasks=6").code == 0
    table = metarun("compare").out
    assert "return" in table
    assert "multitask" in table
    code, _, complaint = metarun("train", "algo=maml_rl", *SMALL, "train.clip_grad=1")
    assert (code, "MAMLRL takes outer steps of its own, which are not clipped" in complaint) == (2, True), complaint
    for words in (("adapt", "run=last", f"support={tmp_path}"), ("test", "run=last", "episodes=list.csv")):
        code, _, complaint = metarun(*words)
        assert code == 2
        assert "learned to act in environments (navigation2d), and takes no examples" in complaint
