"""`task.within`: tasks of one group of classes each, in whole commands."""

import json
from pathlib import Path

import pytest

from metarun.config.folder import config_dir

SMALL = (
    *("train.iterations=2", "train.meta_batch=2", "train.validate_every=2", "train.validate_tasks=4", "test.tasks=6"),
    *("backbone.filters=4", "task.query=3", "train.way=5"),
)


def rows() -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    return {f"{row['train_within']}, {row['test_within']}": row for row in found}


@pytest.mark.slow
@pytest.mark.sampled
def test_a_run_is_tested_across_and_within_groups(metarun):
    assert metarun("train", "algo=protonet", *SMALL).code == 0
    (run,) = rows().values()
    assert (run["within"], run["train_within"], run["test_within"]) == (None, None, None)
    assert metarun("test", f"run={run['id']}", "task.within=script").code == 0
    within = rows()["None, script"]
    assert within["trained_by"] == run["id"]
    assert within["stream_hash"] != run["stream_hash"]
    table = metarun("compare").out
    assert "5w1s → 5w1s within script" in table
    complaint = metarun("compare", "--against", within["id"]).err
    assert f"{run['id']} (protonet) was tested on other tasks" in complaint
    assert "task.within=script" in complaint
    code, _, complaint = metarun("test", f"run={run['id']}", "task.within=alphabet")
    assert code == 2
    assert "task.within=alphabet (set by the command) but the classes of glyphs are grouped by script" in complaint


@pytest.mark.slow
def test_a_run_within_groups_has_an_id_of_its_own_and_is_tested_across_groups_by_all(metarun):
    output = metarun("train", "algo=protonet", *SMALL, "task.within=script")
    assert output.code == 0, output.err
    assert "5-way 1-shot within script, 3 queries a class" in output.out
    run = rows()["script, script"]
    assert metarun("test", f"run={run['id']}", "task.within=all").code == 0
    assert set(rows()) == {"script, script", "script, None"}
    table = metarun("compare", "--format", "md").out
    assert "5w1s within script → 5w1s" in table


def test_every_classification_setting_says_what_within_is():
    for path in (config_dir() / "task").glob("*way*.yaml"):
        assert "within: null" in path.read_text(), path
