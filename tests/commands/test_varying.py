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


@pytest.mark.slow
def test_a_head_of_fixed_size_cannot_serve_a_range(metarun):
    assert metarun("train", "algo=fomaml", "algo.inner_steps=1", *SMALL).code == 0
    code, _, complaint = metarun("test", f"run={rows()[0]['id']}", "task.way=2..5")
    assert code == 2
    assert "way=2..5 (set by the command) but this fomaml has a fixed head for 5 classes" in complaint


@pytest.mark.slow
def test_a_run_is_trained_and_tested_on_tasks_of_many_sizes(metarun):
    words = ("algo=protonet", *SMALL, "train.way=3..6", "task.way=3..5", "task.shot=1..2", "train.meta_batch=3")
    output = metarun("train", *words, "backbone.norm=running")
    assert output.code == 0, output.err
    (run,) = rows()
    sizes = [run[f"{of}{size}"] for of in ("train_", "", "test_") for size in ("way", "shot")]
    assert sizes == ["3..6", "1..2", "3..5", "1..2", "3..5", "1..2"]
    assert "3..5w1..2s" in metarun("compare").out
    assert metarun("test", f"run={run['id']}", "task.way=5", "task.shot=1", "algo=simpleshot").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "algo=maml task.way=3..5",
            "algo.outputs=3..5 (set by the command) but maml has a head of one size; set `",
        ),
        pytest.param(
            "algo=maml train.way=3..5",
            "way=3..5 (set by the command) but this maml has a fixed head for 5 classes",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "algo=baseline train.shot=1..5",
            "train.shot=1..5 but Baseline processes a meta-batch as a whole",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "algo=protonet train.way=1..5",
            "way=1..5 leaves nothing to tell apart in some tasks; begin `train.way` at 2",
            marks=pytest.mark.slow,
        ),
        ("algo=protonet train.way=some", "train.way=some is not a whole number; set `train.way` to one, or to a range"),
        pytest.param(
            "algo=maml data=sinusoid task.shot=5..10",
            "train.shot=5..10 but all tasks of sinusoid have one size",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_ranges_that_cannot_be_are_one_sentence(metarun, words, message):
    code, _, complaint = metarun("train", *words.split(), "backbone.filters=4" if "sinusoid" not in words else "seed=0")
    assert code == 2
    assert message in complaint
