"""`metarun test run=RUN task.way=3..5 task.shot=1..3`: tasks of different sizes."""

import json
from pathlib import Path

import pytest

from tests.commands.test_within import SMALL


def rows() -> list[dict]:
    return [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]


@pytest.mark.slow
def test_one_checkpoint_is_tested_on_tasks_of_many_sizes(metarun):
    assert metarun("train", "algo=protonet", *SMALL).code == 0
    (run,) = rows()
    sizes = ("task.way=3..5", "task.shot=1..3")
    output = metarun("test", f"run={run['id']}", *sizes, "test.tasks=40")
    assert output.code == 0, output.err
    assert "3..5-way 1..3-shot, 3 queries a class" in output.out
    (row,) = (row for row in rows() if row["test_way"] == "3..5")
    assert row["test_shot"] == "1..3"
    assert 1 / 5 < row["chance"] < 1 / 3
    assert "Already finished" in metarun("test", f"run={run['id']}", *sizes, "test.tasks=40").out
    assert "5w1s → 3..5w1..3s" in metarun("compare").out
    assert "task.way=3..5 task.shot=1..3" in metarun("compare", "--against", row["id"]).err
    assert metarun("report", "-o", "report.html").code == 0
    assert metarun("plot", "heatmap", "-o", "heatmap.png").code == 0
    code, _, complaint = metarun("test", f"run={run['id']}", "task.way=5..3")
    assert (code, "task.way=5..3 is an empty range; write the smaller number first" in complaint) == (2, True)
    code, _, complaint = metarun("test", f"run={run['id']}", "task.way=3..5", "test.interval=open")
    assert (code, "test.interval=open needs tasks of one size" in complaint) == (2, True)
    code, _, complaint = metarun("train", "algo=protonet", "task.way=3..5")
    assert code == 2
    assert complaint.count("\n") <= 2, complaint


@pytest.mark.slow
def test_a_head_of_fixed_size_cannot_serve_a_range(metarun):
    assert metarun("train", "algo=fomaml", "algo.inner_steps=1", *SMALL).code == 0
    code, _, complaint = metarun("test", f"run={rows()[0]['id']}", "task.way=2..5")
    assert code == 2
    assert "way=2..5 (set by the command) but this fomaml has a fixed head for 5 classes" in complaint
