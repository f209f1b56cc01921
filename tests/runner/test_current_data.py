"""A finished run is shown, and a run resumed, only with the data it was made with, wherever the command is run."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from metarun.training import checkpoint
from tests.support.fake_images import write_pictures

SMALL = [
    *("task.query=1", "test.tasks=4", "train.iterations=2", "train.validate_every=1", "train.validate_tasks=2"),
    *("data.size=12", "backbone.filters=4", "backbone.downsample=stride", "train.way=5", "train.query=1"),
]
PROTONET = ["train", "algo=protonet", "data=image_folder", "data.root=pics", *SMALL]
OWN = """
from pathlib import Path
import numpy as np
from metarun.data import ClassDataset, Examples

class Hidden:
    name, summary, licence = "hidden", "", ""
    def load(self):
        random = np.random.default_rng(int(Path("number.txt").read_text()))
        def split(name):
            return Examples.from_classes({f"{name}{c}": random.random((4, 1, 12, 12), np.float32) for c in range(5)})
        return ClassDataset("hidden", {name: split(name) for name in ("train", "val", "test")})
"""


@pytest.fixture(autouse=True)
def _no_cache_of_others(root):
    """Give each test its own cache."""


def rows() -> list[Path]:
    return sorted(Path("results/runs").glob("*/result.json"))


@pytest.mark.slow
def test_changed_pictures_are_another_run_and_a_copy_is_not(metarun):
    write_pictures(Path("pics"))
    assert metarun(*PROTONET).code == 0
    shutil.copytree("pics", "copy")
    code, printed, _ = metarun(*PROTONET, "data.root=./copy")
    assert code == 0
    assert "Already finished" in printed
    write_pictures(Path("pics"), first=7)
    code, printed, _ = metarun(*PROTONET)
    assert code == 0
    assert "Already finished" not in printed
    assert len({json.loads(row.read_text())["data_hash"] for row in rows()}) == len(rows()) == 2


def test_a_run_with_other_data_is_not_shown(metarun):
    """A user's class may read files that no key names."""
    Path("users_hidden.py").write_text(OWN)
    Path("number.txt").write_text("1")
    Path("my_conf/data").mkdir(parents=True)
    Path("my_conf/data/hidden.yaml").write_text("_target_: users_hidden.Hidden\n")
    words = ["train", "--config-dir", "my_conf", "algo=protonet", "data=hidden", "task.query=1", "test.tasks=4"]
    words += [
        "train.iterations=2",
        "train.validate_every=1",
        "train.validate_tasks=2",
        "backbone.filters=4",
        "backbone.downsample=stride",
    ]
    code, _, complaint = metarun(*words)
    assert code == 0, complaint
    assert "Already finished" in metarun(*words).out
    Path("number.txt").write_text("2")
    code, _, complaint = metarun(*words)
    assert code == 2
    assert "was made with the same config but different data: their hash was" in complaint
    assert metarun(*words, "force=true").code == 0
    rows()[0].unlink()  # as if it had been stopped just before it finished
    Path("number.txt").write_text("3")
    code, _, complaint = metarun(*words)
    assert code == 2
    assert "was started with different data; use force=true to start over with the current data" in complaint


@pytest.mark.slow
@pytest.mark.parametrize("older", [False, True], ids=["as stored now", "as stored before"])
def test_a_run_finds_its_data_folder_from_any_directory(metarun, monkeypatch, tmp_path, older):
    write_pictures(Path("pics"))
    assert metarun(*PROTONET).code == 0
    (run,) = Path("results/runs").iterdir()
    if older:
        stored = yaml.safe_load((run / "config.yaml").read_text())
        stored["data"]["root"] = "pics"
        (run / "config.yaml").write_text(yaml.safe_dump(stored))
        (run / "SHA256SUMS").unlink()
    Path("elsewhere/pics").mkdir(parents=True)  # a folder of that name
    monkeypatch.chdir("elsewhere")
    code, printed, complaint = metarun("rerun", f"../results/runs/{run.name}")
    assert code == 0, complaint
    assert "Reproduced bit for bit" in printed
    code, _, complaint = metarun("test", f"run=../results/runs/{run.name}", "test.tasks=3", "results_dir=../results")
    assert code == 0, complaint
    assert len(list((tmp_path / "results/runs").glob("*/result.json"))) == 2


@pytest.mark.slow
def test_a_test_of_weights_that_were_trained_again_is_not_shown(metarun):
    words = ["train", "algo=fomaml", "data=sinusoid", "train.iterations=2", "train.validate_every=1", "test.steps=1"]
    words += ["train.validate_tasks=2", "test.tasks=3"]
    metarun(*words)
    (run,) = Path("results/runs").iterdir()
    test = ["test", f"run={run.name[-8:]}", "test.steps=2"]
    assert metarun(*test).code == 0
    metarun(*words, "force=true")
    assert "Already finished" in metarun(*test).out, "retraining gave the same weights"
    weights = checkpoint.load(run / "best.pt", run.name[-8:])["algorithm"]
    others = {name: 2 * weight for name, weight in weights.items()}  # as another version of metarun would train them
    checkpoint.save(run / "best.pt", {"run": run.name[-8:], "algorithm": others})
    code, _, complaint = metarun(*test)
    assert code == 2
    assert "was made with other weights than those in" in complaint
    code, _, _ = metarun(*test, "force=true")
    assert code == 0
    assert "Already finished" in metarun(*test).out
