"""`metarun rerun`: reproduced and changed numbers, changes in the environment, and resumed runs."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from metarun.results import provenance as environment
from metarun.results.provenance import compare_environments
from tests.support.markers import few_of

SINUSOID = [
    *("train", "algo=fomaml", "data=sinusoid", "train.iterations=4", "train.validate_every=2"),
    *("train.validate_tasks=4", "test.tasks=5", "test.steps=1"),
]


def the_run(pattern="*") -> Path:
    (path,) = Path("results/runs").glob(pattern)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_reproduced_run_is_reported_and_the_rerun_is_removed(metarun):
    metarun(*SINUSOID, "logger=csv")
    before = content(the_run())
    code, printed, _ = metarun("rerun", the_run().name[-8:-4])
    assert code == 0, printed
    assert "Reproduced bit for bit: " in printed
    assert "No environment changes since the start of the run (20" in printed
    assert printed.index("Reproduced bit") < printed.index("No environment changes"), "the verdict first"
    assert "meta-training fomaml-sinusoid" in printed, "progress is shown"
    assert content(the_run()) == before
    assert not Path("reruns").exists()


@pytest.mark.slow
def test_a_run_of_metarun_test_can_be_rerun_after_moving_its_folder(metarun, tmp_path):
    metarun(*SINUSOID)
    trained = the_run().name
    metarun("test", f"run={trained[-8:]}", "test.steps=3")
    (row,) = (path.name for path in Path("results/runs").iterdir() if path.name != trained)
    Path("results").rename("elsewhere")
    code, printed, _ = metarun("rerun", f"elsewhere/runs/{row}")
    assert code == 0, printed
    assert "Reproduced bit for bit: " in printed


def test_changed_numbers_are_printed_with_their_difference_and_environment_changes(metarun):
    metarun(*SINUSOID)
    result, tasks = the_run() / "result.json", the_run() / "tasks.parquet"
    record = json.loads(result.read_text())
    record["mse"] += 0.25
    result.write_text(json.dumps(record))
    (the_run() / "SHA256SUMS").unlink()
    table = pd.read_parquet(tasks)
    table.loc[[3, 4], "loss"] += [1e-9, 2e-9]
    table.to_parquet(tasks)
    made = json.loads((the_run() / "environment.json").read_text())
    made["versions"]["torch"], made["threads"], made["host"] = "2.0.0", 64, "another"
    (the_run() / "environment.json").write_text(json.dumps(made))
    code, printed, _ = metarun("rerun", str(the_run()))
    assert code == 1
    lines = {line.split("  ")[0].strip(): line.split() for line in printed.splitlines()}
    assert lines["result.json: mse"][-2:] == ["1", "0.25"]
    assert lines["tasks.parquet: loss"][-2:] == ["2", "2e-09"]
    assert "2 of " in printed
    assert "host another → " in printed
    assert "torch 2.0.0 → " in printed
    assert "OMP_NUM_THREADS=64 metarun rerun … uses the same number of threads." in printed
    assert (Path("reruns/runs") / the_run().name / "result.json").is_file()
    assert metarun("rerun", str(the_run()))[0] == 1, "runs again instead of reading reruns/"


@pytest.mark.slow
def test_a_time_budget_explains_a_different_number_of_steps(metarun):
    metarun(*SINUSOID, "train.iterations=null", "train.time_budget=2s", "train.validate_every=1000000")
    result = the_run() / "result.json"
    record = json.loads(result.read_text())
    result.write_text(json.dumps({**record, "iterations": record["iterations"] + 10**6}))
    (the_run() / "SHA256SUMS").unlink()
    code, printed, _ = metarun("rerun", str(the_run()))
    assert code == 1
    assert "Both runs were limited by train.time_budget: " in printed


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["0123"], "run=0123 is neither a run's directory nor the start of an id"),
        ([], "metarun rerun: the following arguments are required: RUN"),
        (["RUN", "--into", "results"], "is in results; choose another folder for the rerun with --into"),
        (["RUN", "device=cpu"], "metarun rerun: unrecognized arguments: device=cpu. See `metarun rerun --help`"),
        (["RUN", "--device", "nowhere"], "device=nowhere cannot be used here"),
        (
            ["RUN", "--device", "mps"],
            "device=mps cannot be used here (metarun runs on CPUs and on CUDA); use",
        ),
    ],
)
def test_an_invalid_rerun_is_reported_in_one_sentence(metarun, words, sentence):
    metarun(*SINUSOID)
    code, _, stderr = metarun("rerun", *(str(the_run()) if word == "RUN" else word for word in words))
    assert (code, sentence in stderr, stderr.count("\n")) == (2, True, 1), stderr


def test_an_unfinished_run_is_not_repeated(metarun):
    metarun(*SINUSOID)
    (the_run() / "result.json").unlink()
    code, _, stderr = metarun("rerun", str(the_run()))
    assert (code, "is not a finished run; finish it with `metarun train`" in stderr) == (2, True)


MINE = """
from metarun.algorithms import ProtoNet


class Mine(ProtoNet):
    pass
"""


def test_user_code_is_run_only_if_the_command_trusts_it(metarun, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("mine.py").write_text(MINE)
    few = ["train.iterations=1", "train.validate_tasks=1", "test.tasks=2", "backbone.filters=4", "train.meta_batch=1"]
    metarun("train", "algo=protonet", "algo._target_=mine.Mine", *few, "train.way=5")
    code, _, stderr = metarun("rerun", str(the_run()))
    assert (code, "if you trust this code, add `trust=[mine.Mine]`" in stderr) == (2, True), stderr
    code, printed, _ = metarun("rerun", str(the_run()), "trust=[mine.Mine]")
    assert code == 0, printed


def test_trust_in_a_stored_config_is_ignored(metarun):
    metarun(*SINUSOID)
    trained = the_run().name
    metarun("test", f"run={trained[-8:]}", "test.steps=3")
    (row,) = (path for path in Path("results/runs").iterdir() if path.name != trained)
    config = yaml.safe_load((row / "config.yaml").read_text())
    config |= {"trust": ["os.mkdir"], "algo": {"_target_": "os.mkdir", "path": "harm"}}
    (row / "config.yaml").write_text(yaml.safe_dump(config))
    code, _, stderr = metarun("rerun", str(row))
    assert (code, "so it is not run without your consent" in stderr) == (2, True), stderr
    assert not Path("harm").exists()


def stop_halfway(run: Path) -> None:
    """Leave the run in the state of a kill after its last validation."""
    (run / "result.json").unlink()


@pytest.mark.slow
def test_a_resumed_run_keeps_its_first_environment_and_reports_changes(metarun, monkeypatch):
    metarun(*SINUSOID)
    began = json.loads((the_run() / "environment.json").read_text())
    assert began["seeds"] == {"seed": 0, "test": 0}
    assert began["data_hash"] == json.loads((the_run() / "result.json").read_text())["data_hash"]
    stop_halfway(the_run())
    _, printed, _ = metarun(*SINUSOID)
    assert "the environment has changed" not in printed
    stop_halfway(the_run())
    monkeypatch.setattr(environment, "processor", lambda: "an abacus")
    _, printed, _ = metarun(*SINUSOID)
    assert f"the environment has changed since this run started (processor {began['processor']} → an abacus)" in printed
    now = json.loads((the_run() / "environment.json").read_text())
    assert [resumed["processor"] for resumed in now.pop("resumed")] == [began["processor"], "an abacus"]
    assert now == began
    _, printed, _ = metarun("rerun", str(the_run()))
    assert printed.count("No environment changes since the resume of the run (") == 1
    metarun(*SINUSOID, "force=true")
    assert "resumed" not in json.loads((the_run() / "environment.json").read_text())


@pytest.mark.parametrize(
    "damaged",
    few_of(["{", "[" * 100_000, "5", '{"resumed": 5}', '{"resumed": [5]}'], "{"),
)
def test_a_damaged_environment_is_reported_and_not_fatal(metarun, damaged):
    metarun(*SINUSOID)
    (the_run() / "environment.json").write_text(damaged)
    code, printed, _ = metarun("rerun", str(the_run()))
    assert code == 0
    assert "environment.json cannot be read, so changes in the environment are unknown." in printed
    stop_halfway(the_run())
    code, printed, _ = metarun(*SINUSOID)
    assert code == 0
    assert "environment.json cannot be read; the environment in which this run started is unknown" in printed
    assert json.loads((the_run() / "environment.json").read_text())["threads"]


def test_a_difference_is_named_by_its_last_key():
    before = {"versions": {"torch": "2.12.0", "numpy": "2"}, "changes": None, "commit": "a" * 40, "host": "a"}
    now = {**before, "versions": {"torch": "2.13.0", "numpy": "2"}, "changes": "b" * 64, "host": "b", "gpu": "x"}
    assert compare_environments(before, now) == {"torch": "2.12.0 → 2.13.0", "changes": "none → bbbbbbbbbbbb"}


def test_uncommitted_changes_are_hashed(monkeypatch):
    said = {"diff": "diff --git a b"}
    monkeypatch.setattr(environment, "_git", lambda *words: said.get(words[0]))
    first = environment.changes()
    assert first is not None
    assert len(first) == 64
    said["diff"] += "!"
    assert environment.changes() not in (None, first)
    said["diff"] = ""
    assert environment.changes() is None
