"""Run directories are untrusted: code that a config names is not even imported unless the command trusts it."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock

from metarun.errors import UserError
from metarun.results.run_directory import RunDirectory
from metarun.runner.stored_config import stored_config
from tests.support.commands import run_here
from tests.support.markers import few_of

SMALL = [
    *("train.iterations=2", "train.validate_every=2", "train.validate_tasks=2", "train.meta_batch=1", "test.tasks=4"),
    "backbone.filters=4",
]
# An attacker's module beside the run, which leaves a trace when it is imported.
EVIL = "from pathlib import Path\nPath('trace').touch()\nclass Evil:\n    def load(self): pass\ndef evil(): pass\n"
OWN = """
from torch import nn
from metarun.algorithms import ProtoNet

class Mine(ProtoNet):
    pass

def network(features):
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, features))
"""


@pytest.fixture(scope="session")
def trained(session_folder: Path) -> Path:
    """A results folder with one run; copy it before changing it."""
    folder = session_folder / "stored"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"), pytest.MonkeyPatch.context() as patch:
        if not (folder / "results").exists():
            patch.chdir(folder)
            assert run_here("train", "algo=protonet", *SMALL) == 0
    return folder / "results"


@pytest.fixture
def run(trained: Path, monkeypatch, tmp_path) -> Path:
    """A run from elsewhere, below the current folder, with its author's code beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    shutil.copytree(trained, "theirs")
    for place in (Path("theirs/evil.py"), Path("evil.py")):
        place.write_text(EVIL)
    return next(Path("theirs/runs").iterdir())


def rewrite(run: Path, key: str, value: object) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    node = config
    *path, last = key.split(".")
    for name in path:
        node = node.setdefault(name, {})
    node[last] = value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "SHA256SUMS").unlink(missing_ok=True)  # as an attacker would


def as_before_paper_backbone(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["default_norm"] = config.pop("paper_backbone")["norm"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "SHA256SUMS").unlink()


@pytest.fixture
def retest(metarun):
    """Test a run; return the exit code and the error message."""

    def retest(run: Path, *words: str) -> tuple[int, str]:
        code, _, complaint = metarun("test", f"run={run}", "test.tasks=3", *words)
        return code, complaint

    return retest


def assert_nothing_was_run(run: Path) -> None:
    assert not list(Path().rglob("trace"))
    assert "evil" not in sys.modules
    assert not list(Path("results").rglob("result.json"))


@pytest.mark.cross
@pytest.mark.parametrize("name", ["os.system", "builtins.exec", "subprocess.Popen", "evil.Evil", "theirs.evil.Evil"])
@pytest.mark.parametrize("part", ["algo", "backbone", "data"])
def test_no_part_of_a_run_is_built_from_untrusted_code(part, name, run, retest):
    rewrite(run, part, {"_target_": name, "command": "touch trace", "args": ["touch", "trace"]})
    code, complaint = retest(run)
    assert code == 2
    assert f"names code that is not a method, network or data set of metarun ({part}._target_={name})" in complaint
    assert f"if you trust this code, add `trust=[{name}]`" in complaint
    assert len(complaint.splitlines()) == 1
    assert_nothing_was_run(run)


@pytest.mark.parametrize("part", ["algo", "backbone", "data"])
def test_a_rerun_does_not_build_untrusted_code(part, run, metarun):
    rewrite(run, part, {"_target_": "os.system", "command": "touch trace"})
    code, _, complaint = metarun("rerun", str(run))
    assert code == 2
    assert f"({part}._target_=os.system)" in complaint
    assert_nothing_was_run(run)


UNTRUSTED = [
    ("algo.temperature", {"_target_": "os.system", "command": "touch trace"}),
    ("algo.list", [[{"_target_": "os.system", "command": "touch trace"}]]),
    ("data.size", {"_target_": "evil.evil"}),
    ("backbone", {"_target_": "metarun.backbones.Module", "module": {"_target_": "evil.evil"}}),
    (
        "backbone",
        {"_target_": "metarun.backbones.Module", "module": {"_target_": "metarun.results.provenance.commit"}},
    ),
    ("data", {"_target_": "metarun.data.Tasksets", "tasksets": "evil:evil"}),
    ("data", {"_target_": "metarun.results.provenance.subprocess.Popen", "args": ["touch", "trace"]}),
    ("data._target_", ["os.system"]),
    ("data._target_", {"_target_": "os.system"}),
    ("algo._target_", "metarun.backbones.Conv4"),
    ("algo._target_", "metarun.results.provenance.commit"),
    ("algo._target_", "metarun.no_such.Thing"),
]


@pytest.mark.parametrize(("key", "value"), few_of(UNTRUSTED, *UNTRUSTED[::3]))
def test_nested_code_and_other_classes_are_not_trusted(key, value, run, retest):
    rewrite(run, key, value)
    code, complaint = retest(run)
    assert code == 2
    assert "names code that is not a method, network or data set of metarun" in complaint
    assert_nothing_was_run(run)


def test_positional_arguments_cannot_bypass_the_check(run, retest):
    rewrite(run, "data", {"_target_": "metarun.data.Tasksets", "_args_": ["evil:evil"]})
    code, complaint = retest(run)
    assert (code, "`data._args_` is not a key of Tasksets" in complaint) == (2, True)
    assert_nothing_was_run(run)


def test_a_stored_config_cannot_read_environment_variables(run, monkeypatch, retest):
    monkeypatch.setenv("MY_TOKEN", "secret")
    rewrite(run, "chosen.data", "${oc.env:MY_TOKEN}")
    code, complaint = retest(run)
    assert code == 2
    assert "is not a valid config of a run (chosen.data=${oc.env:MY_TOKEN} is not resolved)" in complaint


def test_a_python_tag_is_not_executed(run, retest):
    with (run / "config.yaml").open("a") as file:
        file.write("bad: !!python/object/apply:os.system ['touch trace']\n")
    code, complaint = retest(run)
    assert (code, "cannot be read" in complaint) == (2, True)
    assert_nothing_was_run(run)


@pytest.mark.slow
def test_parts_that_the_command_replaces_are_not_checked(run, retest):
    for part in ("algo", "data"):
        rewrite(run, part, {"_target_": "os.system"})
    assert retest(run, "algo=simpleshot", "data=glyphs") == (0, "")


def test_trusted_code_is_run(metarun, retest):
    Path("own.py").write_text(OWN)
    words = ["train", "algo=protonet", "algo._target_=own.Mine", "backbone=module", "train.iterations=2"]
    words += ["backbone.module._target_=own.network", "+backbone.module.features=4", "test.tasks=4", *SMALL[:4]]
    assert metarun(*words).code == 0
    own = next(Path("results/runs").iterdir())
    code, complaint = retest(own, "trust=[own.Mine]")
    assert (code, "(backbone.module._target_=own.network)" in complaint) == (2, True)
    assert retest(own, "trust=[own.Mine,own.network]") == (0, "")


FROZEN = """
from pathlib import Path

import torch
from torch import nn


def network(weights: Path) -> nn.Module:
    first = nn.Linear(784, 100)
    first.load_state_dict(torch.load(weights, weights_only=True))
    return nn.Sequential(nn.Flatten(), first.requires_grad_(False), nn.ReLU(), nn.Linear(100, 4))
"""


@pytest.mark.slow
@pytest.mark.sampled
def test_a_checkpoint_leaves_out_frozen_weights_of_a_file_whose_content_is_in_the_id(metarun, retest):
    Path("frozen.py").write_text(FROZEN)
    torch.manual_seed(1)
    torch.save(torch.nn.Linear(784, 100).state_dict(), "first.pt")
    words = ["train", "algo=protonet", "backbone=module", "train.iterations=2", "test.tasks=4", *SMALL[:4]]
    words += ["backbone.module._target_=frozen.network", "+backbone.module.weights=first.pt"]
    assert metarun(*words).code == 0
    (run,) = Path("results/runs").iterdir()
    weights = torch.load(run / "best.pt", weights_only=True)["algorithm"]
    assert sorted(weights) == ["backbone.frozen_sha256", "backbone.module.3.bias", "backbone.module.3.weight"]
    assert retest(run, "trust=[frozen.network]") == (0, "")
    torch.manual_seed(2)  # a run seeds torch too
    torch.save(torch.nn.Linear(784, 100).state_dict(), "first.pt")
    assert metarun(*words).code == 0
    assert len(list(Path("results/runs").glob("protonet-*"))) == 3, "two trainings and a test"
    code, complaint = retest(run, "trust=[frozen.network]", "test.tasks=5")
    assert (code, "the frozen weights differ from those in training" in complaint) == (2, True)


def test_trusted_code_must_fit_its_key(run, retest):
    rewrite(run, "data", {"_target_": "os.system", "command": "touch trace"})
    code, complaint = retest(run, "trust=[os.system]")
    assert (code, "names data._target_=os.system, which cannot be the `data` of a run" in complaint) == (2, True)
    assert not Path("trace").exists()


def test_trust_is_not_in_the_id(run, retest):
    assert retest(run) == (0, "")
    assert retest(run, "trust=[os.system]") == (0, "")
    assert len(list(Path("results").rglob("result.json"))) == 1
    assert json.loads(next(Path("results").rglob("result.json")).read_text())["status"] == "done"


@pytest.mark.slow
def test_a_run_from_before_paper_backbone_is_shown_tested_and_reproduced(run, retest, metarun):
    as_before_paper_backbone(run)
    assert retest(run) == (0, "")
    row = next(Path("results/runs").iterdir())
    shown = ["train", "--config-path", str(run), "--config-name", "config", "results_dir=theirs"]
    printed = ""
    for words in (shown, ["rerun", str(run)], ["rerun", str(row)]):
        code, said, complaint = metarun(*words)
        assert code == 0, complaint
        printed += said
    assert len(list(run.parent.iterdir())) == 1, "its id is what it was"
    assert printed.count("Reproduced bit for bit") == 2


INVALID_VALUES = [
    ("task", 5, "is not a valid config of a run (Merge error: int is not a subclass of TaskConfig"),
    ("task.way", "many", "task.way=many is not a whole number; set `task.way` to one, or to a range such as 5..20"),
    ("task.way", True, "task.way=True is not a whole number"),
    ("task.way", None, "task.way=null is not a whole number"),
    ("train", {}, "is not a valid config of a run (train.way missing)"),
    ("algo", "maml", "is not a valid config of a run (algo missing)"),
    ("seed", float("nan"), "is not a valid config of a run (seed=nan is not finite; use a finite number)"),
    ("chosen.data", ["x"], "is not a valid config of a run"),
]


@pytest.mark.parametrize(("key", "value", "sentence"), few_of(INVALID_VALUES, *INVALID_VALUES[::3]))
def test_an_invalid_value_is_an_error(key, value, sentence, run, retest):
    rewrite(run, key, value)
    code, complaint = retest(run)
    assert (code, sentence in complaint) == (2, True), complaint


def test_the_data_sets_of_a_mixture_are_metaruns_own_or_need_consent(tmp_path):
    earlier = Path(__file__).parent / "earlier_runs" / "protonet-glyphs-5w1s-f649e085" / "config.yaml"
    config = yaml.safe_load(earlier.read_text())
    sets = {"omniglot": {"_target_": "metarun.data.Omniglot"}, "glyphs": {"_target_": "metarun.data.Glyphs"}}
    config["data"] = {"_target_": "metarun.data.Mixture", "sets": sets}
    (run := tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert stored_config(RunDirectory(tmp_path), trust=[])["data"]["sets"] == sets
    for target in ("os.system", "metarun.data.files.dataset_cache.os.system", "metarun.results.records.read_result"):
        sets["glyphs"]["_target_"] = target
        run.write_text(yaml.safe_dump(config))
        with pytest.raises(UserError, match=f"data.sets.glyphs._target_={target}"):
            stored_config(RunDirectory(tmp_path), trust=[])


def test_a_run_of_another_version_may_have_more_keys_with_any_values(tmp_path):
    earlier = Path(__file__).parent / "earlier_runs" / "protonet-glyphs-5w1s-f649e085" / "config.yaml"
    config = yaml.safe_load(earlier.read_text())
    config["train"]["weight_decay"], config["later"] = 0.1, {"key": [1]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert stored_config(RunDirectory(tmp_path), trust=[])["train"]["weight_decay"] == 0.1
