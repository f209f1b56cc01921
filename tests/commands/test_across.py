"""`task.across` and `task.imbalance` in whole commands."""

import json
from pathlib import Path

import pytest

from tests.commands.test_within import SMALL


@pytest.mark.slow
def test_a_run_is_tested_across_groups_of_examples_and_with_unequal_shots(metarun):
    assert metarun("train", "algo=protonet", *SMALL, "task.query=1", "train.query=1", "task.across=face").code == 0
    (path,) = Path("results/runs").glob("*/result.json")
    run = json.loads(path.read_text())
    assert [run[key] for key in ("across", "train_across", "test_across", "test_imbalance")] == [*["face"] * 3, None]
    words = ("task.across=none", "task.shot=2", "task.imbalance=meta_dataset")
    assert metarun("test", f"run={run['id']}", *words).code == 0
    table = metarun("compare").out
    assert "5w1s across face → 5w2s unequal by meta_dataset" in table
    code, _, complaint = metarun("test", f"run={run['id']}", "task.query=15")
    assert code == 2
    assert "query=15 but no class of split 'test' of glyphs has that many examples by one face: " in complaint
