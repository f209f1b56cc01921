"""Several data sets in one run, in whole commands."""

import json
from pathlib import Path

import pytest

from tests.support.fake_images import write_pictures

PICTURES = (
    *("data=glyphs+image_folder", "data.sets.image_folder.root=pictures", "data.sets.image_folder.channels=1"),
    "data.sets.image_folder.size=28",
)
SMALL = (
    *("algo=protonet", "train.iterations=2", "train.meta_batch=2", "train.validate_every=2", "train.validate_tasks=4"),
    *("test.tasks=5", "backbone.filters=4", "task.query=2", "train.way=5"),
)


def rows() -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    return {row["test_data"]: row for row in found}


@pytest.mark.slow
@pytest.mark.sampled
def test_a_run_on_two_data_sets_is_tested_on_each_and_compared_with_a_test_of_one(metarun):
    write_pictures(Path("pictures"), count=6)
    output = metarun("train", *SMALL, *PICTURES)
    assert output.code == 0, output.err
    run = rows()["glyphs+image_folder"]
    assert run["test_tasks"] == 10
    assert [*run["sets"]] == ["glyphs", "image_folder"]
    assert run["accuracy"] == pytest.approx(sum(each["accuracy"] for each in run["sets"].values()) / 2)
    assert metarun("test", f"run={run['id']}", "data=glyphs", "test.unknown=2").code == 0
    assert (rows()["glyphs"]["test_unknown"], "auroc_unknown" in run) == (2, False)
    assert rows()["glyphs"]["stream_hash"] == run["sets"]["glyphs"]["stream_hash"]
    assert rows()["glyphs"]["accuracy"] == pytest.approx(run["sets"]["glyphs"]["accuracy"])
    table = metarun("compare", "--format", "md").out
    assert "glyphs+image_folder (mean of 2)" in table
    assert "glyphs+image_folder → image_folder" in table
    auroc, floor = (100 * rows()["glyphs"][key] for key in ("auroc_unknown", "floor_auroc_unknown"))
    assert f"{auroc:.1f} ± " in table
    assert f" ({floor:.1f})" in table
    paired = json.loads(metarun("compare", "--against", f"{run['id']}/glyphs", "--format", "json").out)
    assert [(each["id"], each["difference"]) for each in paired] == [(rows()["glyphs"]["id"], 0)]


@pytest.mark.slow
def test_a_mixture_is_reproduced_and_reported(metarun):
    write_pictures(Path("pictures"), count=6)
    assert metarun("train", *SMALL, *PICTURES, "data.weights.glyphs=2").code == 0
    run = rows()["glyphs+image_folder"]["id"]
    output = metarun("rerun", run)
    assert output.code == 0, output.err
    assert metarun("report").code == 0
    assert f"{run}/image_folder" in Path("report.html").read_text()
