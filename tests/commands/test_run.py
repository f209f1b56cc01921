"""Complete runs through the command line: their files, that they are reproducible, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from metarun.results.records import CIRCUMSTANCES, TIMINGS
from metarun.tasks.class_stream import ClassTaskStream
from metarun.training import checkpoint
from tests.support.fake_images import write_pictures
from tests.support.markers import few_of

SMALL = ["train.iterations=6", "train.validate_every=3", "train.validate_tasks=6", "test.tasks=8", "backbone.filters=8"]
MAY_DIFFER = TIMINGS | CIRCUMSTANCES
CONTRACT = set(
    """id status algo data backbone way shot query seed test_way test_shot test_query test_tasks accuracy accuracy_ci95
    accuracy_by_step loss_by_step steps val_accuracy best_iteration iterations chance floor_accuracy norm transductive
    order parameters train_seconds test_seconds tasks_per_second adapt_ms peak_memory_mb device stream_hash data_hash
    version commit""".split()  # noqa: SIM905, easier to read
)
FILES = {
    "config.yaml",
    "result.json",
    "curve.csv",
    "tasks.parquet",
    "examples.npz",
    "inputs.npz",
    "SHA256SUMS",
    "best.pt",
    "last.pt",
    "environment.json",
    "run.log",
}


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def the_run(pattern="*") -> Path:
    (path,) = Path("results/runs").glob(pattern)
    return path


def read(path: Path) -> dict:
    return json.loads((path / "result.json").read_text())


def numbers(path: Path) -> dict:
    """All numbers that must be reproduced: everything but timings and circumstances."""
    curve = pd.read_csv(path / "curve.csv").drop(columns="seconds")
    tasks = pd.read_parquet(path / "tasks.parquet")
    record = {key: value for key, value in read(path).items() if key not in MAY_DIFFER}
    return {"record": record, "curve": curve.to_csv(), "tasks": tasks.to_csv()}


@pytest.mark.parametrize("algo", few_of(["maml", "fomaml", "protonet"], "maml"))
def test_a_run_writes_all_files_and_keys(metarun, algo):
    code, printed, _ = metarun("train", f"algo={algo}", *SMALL)
    assert code == 0
    path = the_run(f"{algo}-glyphs-5w1s-????????")
    assert {file.name for file in path.iterdir()} >= FILES
    assert str(path) in printed
    record = read(path)
    assert set(record) >= CONTRACT
    assert record["status"] == "done"
    assert path.name.endswith(record["id"])
    assert record["order"] == {"maml": 2, "fomaml": 1, "protonet": None}[algo]
    assert record["transductive"] == (algo != "protonet")
    assert record["chance"] == pytest.approx(0.2)
    assert 0.3 < record["floor_accuracy"] < 0.9
    assert len(record["accuracy_by_step"]) == len(record["loss_by_step"]) == record["steps"] + 1

    tasks = pd.read_parquet(path / "tasks.parquet")
    assert list(tasks.columns) == ["task", "step", "loss", "accuracy", "nll", "confidence"]
    assert len(tasks) == 8 * (record["steps"] + 1)
    last = tasks[tasks.step == record["steps"]]
    assert last.accuracy.mean() == pytest.approx(record["accuracy"])
    assert record["accuracy"] == record["accuracy_by_step"][-1]
    curve = pd.read_csv(path / "curve.csv")
    assert list(curve.columns) == ["iteration", "split", "loss", "accuracy", "seconds", "median", "diverged"]
    assert curve.iteration.tolist() == [3, 3, 6, 6]
    environment = json.loads((path / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__
    assert {"commit", "host", "device", "command", "threads"} <= set(environment)
    assert "meta-val accuracy" in (path / "run.log").read_text()


def test_the_same_command_finds_the_run_and_force_reproduces_it_bit_for_bit(metarun):
    metarun("train", *SMALL)
    path = the_run()
    before, written = numbers(path), (path / "result.json").stat().st_mtime_ns
    code, printed, _ = metarun("train", *SMALL, "device=cpu", "train.over_tasks=auto", "logger=csv")
    assert code == 0
    said = "Already finished; use force=true to run it again. The logger csv receives nothing from a finished run."
    assert said in printed
    assert (path / "result.json").stat().st_mtime_ns == written
    metarun("train", *SMALL, "force=true")
    assert (the_run() / "result.json").stat().st_mtime_ns > written
    assert numbers(path) == before


@pytest.mark.slow
@pytest.mark.parametrize("word", ["data.storage=disk", "deterministic=true", "precision=bf16"])
def test_runs_are_reproducible_from_disk_and_in_other_precisions(metarun, word):
    metarun("train", *SMALL, word)
    path = the_run()
    before = numbers(path)
    assert metarun("train", *SMALL, word, "force=true")[0] == 0
    assert numbers(path) == before
    record, (key, value) = before["record"], word.split("=")
    assert key == "data.storage" or str(record[key]).lower() == value
    if key == "data.storage":
        metarun("train", *SMALL, "force=true")
        assert numbers(path) == before, "memory and disk are the same run and give the same numbers"


@pytest.mark.slow
def test_a_nondeterministic_operation_is_refused_in_one_sentence(metarun, monkeypatch):
    Path("putting.py").write_text(PUTTING)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    words = ["train", "algo=protonet", "algo._target_=putting.Putting", *SMALL]
    code, _, complaint = metarun(*words, "deterministic=true")
    assert code == 2
    assert complaint.startswith(
        "metarun: error: deterministic=true but put_ does not have a deterministic implementation"
    )
    assert metarun(*words)[0] == 0


PUTTING = """
import torch

from metarun.algorithms import ProtoNet


class Putting(ProtoNet):
    def meta_loss(self, tasks):
        zeros = torch.zeros(3).put_(torch.tensor([0]), torch.tensor([0.0]))
        return super().meta_loss(tasks) + zeros.sum()
"""


@pytest.mark.slow
def test_the_stored_config_reproduces_the_run(metarun):
    metarun("train", *SMALL)
    path = the_run()
    before = numbers(path)
    code, *_ = metarun("train", "--config-path", str(path), "--config-name", "config", "force=true")
    assert code == 0
    assert the_run() == path
    assert numbers(path) == before


@pytest.mark.slow
def test_an_open_interval_uses_only_tasks_that_share_no_example(metarun):
    code, printed, _ = metarun("train", "algo=protonet", *SMALL, "test.interval=open", "test.tasks=5000")
    assert code == 0
    record = json.loads((the_run() / "result.json").read_text())
    assert record["interval"] == "open"
    assert 10 < record["test_tasks"] < 200
    assert f"only {record['test_tasks']} meta-test tasks share no example" in printed
    code, _, _ = metarun("test", f"run={record['id']}", "test.interval=closed", "test.tasks=20")
    assert code == 0
    closed = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    assert sorted((each["interval"], each["test_tasks"]) for each in closed)[0] == ("closed", 20)
    code, _, complaint = metarun("train", *SMALL, "test.interval=ajar")
    assert (code, "test.interval='ajar' (set by the command) is not one of closed, open" in complaint) == (2, True)


def test_a_finished_run_is_shown_without_torch(metarun):
    metarun("train", "algo=protonet", *SMALL)
    words = ["metarun", "train", "algo=protonet", *SMALL]
    program = (
        f"import sys; sys.argv = {words}; from metarun.cli.main import main; main(); sys.exit('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=False, timeout=60, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Already finished" in shown.stdout
    assert shown.stdout.endswith(f"→ {the_run()}\n")


@pytest.mark.slow
def test_runs_that_differ_only_in_their_seed_share_their_seedless_id(metarun):
    metarun("train", "-m", "algo=protonet", "seed=0,1", "hydra/launcher=basic", *SMALL)
    metarun("train", "algo=protonet", "seed=1", *SMALL[1:], "train.iterations=3")
    ids = {read(path)["id"] for path in Path("results/runs").iterdir()}
    metarun("test", "-m", f"run={','.join(sorted(ids))}", "task.query=3", "test.tasks=4")
    rows = [read(path) for path in Path("results/runs").iterdir()]
    common = {}
    for row in rows:
        common.setdefault(row["seedless_id"], []).append((row["iterations"], row["test_query"], row["seed"]))
    assert sorted(map(sorted, common.values())) == [
        [(3, 3, 1)],
        [(3, 15, 1)],
        [(6, 3, 0), (6, 3, 1)],
        [(6, 15, 0), (6, 15, 1)],
    ]


@pytest.mark.slow
def test_another_seed_is_another_run_on_the_same_test_tasks(metarun):
    metarun("train", "-m", "algo=protonet", "seed=0,1", *SMALL)
    first, second = (read(path) for path in Path("results/runs").iterdir())
    assert first["accuracy"] != second["accuracy"]
    assert first["stream_hash"] == second["stream_hash"]


def test_a_finished_run_can_be_tested_on_other_tasks_without_training(metarun):
    metarun("train", "algo=protonet", *SMALL)
    trained = read(the_run())
    code, _, _ = metarun("test", f"run={trained['id'][:5]}", "task.way=20", "task.shot=5", "task.query=3")
    assert code == 0
    path = the_run("protonet-glyphs-20w5s-*")
    record = read(path)
    assert (record["way"], record["shot"], record["test_way"], record["test_shot"], record["test_query"]) == (
        5,
        1,
        20,
        5,
        3,
    )
    assert record["trained_by"] == trained["id"] != record["id"]
    assert set(record) >= CONTRACT
    assert not (path / "best.pt").exists()
    again, printed, _ = metarun("test", "--config-path", str(path), "--config-name", "config")
    assert again == 0
    assert "Already finished" in printed

    same_setting, *_ = metarun("test", f"run={trained['id']}")
    assert same_setting == 0
    retested = [read(p) for p in Path("results/runs").glob("protonet-glyphs-5w1s-*") if p.name[-8:] != trained["id"]]
    assert [r["accuracy"] for r in retested] == [trained["accuracy"]]
    assert [r["stream_hash"] for r in retested] == [trained["stream_hash"]]


@pytest.mark.slow
def test_the_last_weights_are_those_that_a_single_validation_selects(metarun):
    same_accuracy = ["train.outer_lr=1e-7", "backbone.norm=batch"]  # at both validations, so that the first is the best
    words = ["train", "algo=protonet", *SMALL, *same_accuracy]
    metarun(*words)
    run = the_run()
    trained = read(run)
    assert trained["best_iteration"] == 3, "otherwise the best weights are the last ones"
    code, printed, _ = metarun("test", "-m", f"run={trained['id']}", "test.weights=best,last")
    assert code == 0
    assert f"meta-testing the last weights of {run.name} on 8 tasks" in printed
    best, last = sorted(
        (row for path in Path("results/runs").iterdir() if "trained_by" in (row := read(path))),
        key=lambda row: "tested_weights" in row,
    )
    assert last["tested_weights"] == "last"
    _, printed, _ = metarun("test", f"run={trained['id']}", "test.weights=last")
    assert "of the last step; those of step 3 are the best" in printed
    assert best["checkpoint_hash"] != last["checkpoint_hash"]
    assert best["accuracy_by_step"] == trained["accuracy_by_step"]
    _, table, _ = metarun("compare")
    assert "test.weights=last" in table
    metarun(*words, "train.validate_every=6", "results_dir=once")
    (once,) = Path("once/runs").iterdir()
    assert (read(once)["best_iteration"], read(once)["loss_by_step"]) == (6, last["loss_by_step"])
    code, _, complaint = metarun("test", f"run={trained['id']}", "test.weights=latest")
    assert (code, "test.weights='latest' is not one of best, last." in complaint) == (2, True)


@pytest.mark.slow
def test_a_sweep_of_tests_loads_and_embeds_once_and_equals_single_tests(metarun, monkeypatch):
    metarun("train", "algo=protonet", *SMALL)
    trained = the_run()
    words = ["test", f"run={trained}", "test.tasks=40", "task.query=5"]
    for way, shot in product((2, 20), (1, 2)):
        assert metarun(*words, f"task.way={way}", f"task.shot={shot}", "results_dir=single")[0] == 0

    loads, embeds = [], []
    monkeypatch.setattr(checkpoint, "load", lambda *args, load=checkpoint.load: loads.append(args) or load(*args))
    embed = ClassTaskStream.embed
    monkeypatch.setattr(ClassTaskStream, "embed", lambda *args: embeds.append(args) or embed(*args))
    code, printed, complaint = metarun(*words, "-m", "task.way=2,20,500", "task.shot=1,2")
    assert code == 2, "500 ways are more than there are"
    assert complaint.count("way=500 but split 'test' of glyphs has") == 2
    assert "→ results/sweeps/" in printed
    assert (len(loads), len(embeds)) == (1, 1)
    (table,) = Path("results/sweeps").glob("*/table.csv")
    assert len(pd.read_csv(table)) == 4
    for path in Path("single/runs").iterdir():
        together = Path("results/runs") / path.name
        assert pd.read_parquet(together / "tasks.parquet").equals(pd.read_parquet(path / "tasks.parquet"))
        assert {k: v for k, v in read(together).items() if k not in MAY_DIFFER} == {
            k: v for k, v in read(path).items() if k not in MAY_DIFFER
        }


@pytest.mark.slow
def test_sinusoid_regression_reports_squared_errors(metarun):
    code, printed, _ = metarun(
        "train",
        "data=sinusoid",
        "train.iterations=500",
        "train.validate_every=250",
        "train.outer_lr=0.005",
        "test.tasks=200",
    )
    assert code == 0
    record = read(the_run("maml-sinusoid-1w10s-*"))
    assert record["mse"] == record["mse_by_step"][-1] < 0.5 * record["mse_by_step"][0]
    assert {"mse", "mse_ci95", "mse_by_step", "val_mse", "floor_mse"} <= set(record)
    assert "accuracy" not in record
    assert "squared error" in printed
    assert metarun("compare")[0] == 0


def test_a_table_of_entities_gives_squared_errors_of_several_targets(metarun):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(96, 3)), columns=["load", "heat", "noise"])
    rows.assign(machine=np.repeat(np.arange(12), 8)).to_csv("table.csv", index=False)
    code, printed, _ = metarun(
        *("train", "algo=maml", "data=regression_table", "data.root=table.csv", "data.entity=machine"),
        *("data.targets=[heat,noise]", "task.shot=3", "task.query=2", "train.iterations=2", "train.validate_every=1"),
        *("train.validate_tasks=2", "train.meta_batch=2", "test.tasks=5", "test.steps=1", "backbone.hidden=[4]"),
    )
    assert code == 0
    record = read(the_run("maml-regression_table-1w3s-*"))
    assert record["parameters"] == 1 * 4 + 4 + 4 * 2 + 2, "the head has an output for each target"
    assert {"floor_mse", "floor_ridge_mse", "floor_ridge_rate"} <= set(record)
    assert "ridge floor" in printed


def test_a_diverged_run_fails_with_its_reason_now_and_later(metarun):
    diverging = ["train", *SMALL, "algo.inner_lr=1e30"]
    code, _, complaint = metarun(*diverging)
    assert code == 1
    assert "the meta-training loss became" in complaint
    assert read(the_run())["status"] == "failed"
    code, _, complaint = metarun(*diverging)
    assert code == 1
    assert "this run failed before (use retry_failed=true to retry): the meta-training loss" in complaint


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["task.way=500"], "way=500 but split 'train' of glyphs has"),
        (
            ["task.way=20", "train.way=5"],
            "way=5 (set by the command) but this maml has a fixed head for 20 classes; set `task",
        ),
        (
            ["algo.outputs=0"],
            "algo.outputs=0 (set by the command) but it must be at least 1; omit it to use the way of the tasks.",
        ),
        (
            ["algo=protonet", "task.way=44"],
            "way=44 but split 'val' of glyphs has 43 classes; lower `task.way` (44, set by the command) or",
        ),
        (["task.shot=10"], "shot + query = 10 + 15 but class"),
        (["task.shot=0"], "shot=0 but a task needs at least 1"),
        (["algo=protonet", "data=sinusoid"], "algo=protonet is for classification but data=sinusoid is regression"),
        (["data=sinusoid", "backbone=conv4"], "backbone=conv4 needs images but the data has examples of shape (1,)"),
        (["algo.inner_lr=fast"], "algo.inner_lr='fast' is not a number"),
        (["algo.order=3"], "algo.order=3 is not one of 1, 2"),
        (["backbone.norm=btach"], "backbone.norm='btach' is not one of batch, support, running"),
        (["+algo.inner_stepz=3"], "`algo.inner_stepz` is not a key of MAML"),
        (["algo._target_=metarun.algorithms.MALM"], "algo._target_=metarun.algorithms.MALM cannot be imported"),
        (["device=gpu"], "device=gpu is not a torch device; use device=cuda"),
        (["precision=float8"], "precision=float8 is not one of float32, bf16, float64"),
        (["data.storage=tape"], "data.storage='tape' is not one of memory, disk"),
        (["train.over_tasks=sideways"], "train.over_tasks='sideways' is not one of auto, loop, vectorised"),
        (["train.time_budget=soon"], "train.time_budget='soon' is not a duration; write it like 90s"),
        (["test.tasks=0"], "test.tasks=0 but it must be at least 1"),
        (["~seed"], "seed"),
        (["seed=99999999999999999999"], "seed is an integer of 67 bits; at most 63 are possible."),
        (["task.way=1"], "way=1 leaves nothing to tell apart in glyphs"),
        (["backbone.filters=0"], "backbone.filters=0 but it must be at least 1"),
        (
            ["backbone=mlp", "backbone.hidden=[a]"],
            "backbone.hidden=['a'] is not a list whose entries are each an integer",
        ),
        (["data.split=nowhere.yaml"], "split 'nowhere.yaml' of glyphs is neither scripts nor an existing file"),
        (["train.clip_grad=-1"], "train.clip_grad=-1.0 (set by the command) but it must be above 0"),
        (["results_dir=/dev/null/x"], "cannot be written"),
        (["data=image_folder"], "data=image_folder needs pictures; set `data.root` to a folder or a zip"),
        (["data=image_folder", "data.root=nowhere"], "data.root=nowhere does not exist"),
        (["data=image_folder", "data.channels=2"], "data.channels=2 is not one of 1, 3"),
        (["data=miniimagenet"], "miniimagenet was not found; put your copy"),
    ],
)
def test_an_invalid_run_is_refused_in_one_sentence_and_writes_nothing(metarun, words, sentence):
    code, _, complaint = metarun("train", *words)
    assert code == 2
    assert complaint.startswith("metarun: error: ")
    assert complaint.count("\n") == 1
    assert sentence in complaint
    assert not list(Path("results/runs").glob("*"))


@pytest.mark.slow
def test_a_refused_force_loses_nothing(metarun):
    metarun("train", *SMALL)
    before = numbers(the_run())
    code, _, _ = metarun("train", *SMALL, "force=true", "device=nowhere")
    assert code == 2
    assert numbers(the_run()) == before


@pytest.mark.slow
def test_a_changed_split_list_is_another_run(metarun):
    small = ["train", "algo=protonet", *SMALL, "train.way=5", "data.split=lists.yaml"]
    for test in ("GREEK", "CYRILLIC"):
        Path("lists.yaml").write_text(f"train: [LATIN]\nval: [GEORGIAN]\ntest: [{test}]\n")
        assert metarun(*small)[0] == 0
    first, second = Path("results/runs").iterdir()
    assert read(first)["stream_hash"] != read(second)["stream_hash"]
    Path("elsewhere.yaml").write_text(Path("lists.yaml").read_text())
    _, printed, _ = metarun(*small, "data.split=elsewhere.yaml")
    assert "Already finished" in printed


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["maml", "protonet"])
def test_a_folder_of_pictures_can_be_used_for_training(metarun, algo):
    write_pictures(Path("my_pictures"))
    few = ["train.query=2", "task.query=2", "train.iterations=3", "train.validate_every=3", "train.validate_tasks=2"]
    small = [*few, "test.tasks=3", "test.steps=2", "backbone.filters=8", "train.meta_batch=2", "train.way=5"]
    words = ["train", f"algo={algo}", "data=image_folder", "data.root=my_pictures", *small]
    assert metarun(*words)[0] == 0
    record = read(the_run(f"{algo}-image_folder-5w1s-*"))
    assert (record["example_shape"], record["iterations"]) == ([3, 84, 84], 3)
    assert "Already finished" in metarun(*words)[1]
    code, printed, _ = metarun("test", f"run={record['id']}", "task.shot=2")
    assert code == 0, printed
    write_pictures(Path("my_pictures"), first=100)
    assert "Already finished" not in metarun(*words)[1], "other pictures, another run"


def test_too_few_pictures_of_a_class_are_reported(metarun):
    write_pictures(Path("my_pictures"))
    code, _, complaint = metarun("train", "algo=protonet", "data=image_folder", "data.root=my_pictures", "train.way=5")
    assert code == 2
    assert "shot + query = 1 + 15 but class 'blue' in split 'train' of image_folder has 4 examples" in complaint


def test_overlapping_split_lists_are_refused(metarun):
    Path("lists.yaml").write_text("train: [LATIN]\nval: [GEORGIAN]\ntest: [GREEK, GEORGIAN]\n")
    code, _, complaint = metarun("train", "data.split=lists.yaml")
    assert code == 2
    assert "is in both 'val' and 'test' of glyphs" in complaint


def test_an_id_that_looks_like_a_number_is_an_id(metarun):
    code, _, complaint = metarun("test", "run=12e45678")
    assert (code, "run=12e45678 is neither" in complaint) == (2, True), complaint


@pytest.mark.slow
def test_a_meta_test_without_a_finite_result_is_a_failure(metarun):
    words = ["algo=fomaml", "data=sinusoid", "train.iterations=4", "train.validate_every=2", "test.tasks=5"]
    metarun("train", *words, "algo.inner_lr=2", "test.steps=1")
    code, _, complaint = metarun("test", f"run={read(the_run())['id']}", "test.steps=400")
    assert code == 1
    assert "all 5 meta-test tasks diverged by step 400; lower `test.steps` or `algo.inner_lr`" in complaint
    code, _, complaint = metarun("train", *words, "algo.inner_lr=100", "test.steps=60")
    assert code == 1
    assert (
        "meta-val tasks diverged in every validation, 200 of 200 in the last one, so no checkpoint could" in complaint
    )


@pytest.mark.slow
def test_a_broken_pipe_does_not_end_the_run():
    command = f"{sys.executable} -m metarun train {' '.join(SMALL)} | head -1"
    subprocess.run(["bash", "-c", command], check=True, timeout=120, capture_output=True)
    for _ in range(100):
        if list(Path("results/runs").glob("*/result.json")):
            break
        time.sleep(0.2)
    assert read(the_run())["status"] == "done"


@pytest.mark.slow
def test_an_audit_predicts_every_query_alone_and_the_row_has_its_result(metarun):
    metarun("train", *SMALL, "task.query=3")
    trained = read(the_run())
    code, printed, _ = metarun("test", f"run={trained['id']}", "audit=true")
    assert code == 0
    (path,) = (path for path in Path("results/runs").iterdir() if path.name[-8:] != trained["id"])
    record = read(path)
    assert record["audit"]["queries"] == 8 * 15, "all 8 meta-test tasks, fewer than the audit's 20"
    assert record["audit"]["changed"] == 120, "MAML's recipe takes batch statistics of the queries"
    assert record["transductive"]
    assert "120 of 120 queries of 8 tasks change when predicted alone" in " ".join(printed.replace("│", " ").split())
    assert record["accuracy"] == trained["accuracy"]


@pytest.mark.slow
def test_an_unusable_run_cannot_be_tested(metarun):
    metarun("train", *SMALL)
    path = the_run()
    for words, sentence in [
        (["run=zzz"], "run=zzz is neither a run's directory nor the start of an id"),
        ([f"run={path.name[-8:]}", "task.way=20"], "way=20 (set by the command) but this maml has a fixed head for 5"),
        (
            [f"run={path.name[-8:]}", "data=sinusoid", "task=10points"],
            "has examples of shape [1] but the run was trained on [1, 28, 28]",
        ),
    ]:
        code, _, complaint = metarun("test", *words)
        assert (code, sentence in complaint) == (2, True), complaint
    config = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text("")
    code, _, complaint = metarun("test", f"run={path}")
    assert (code, "is not a valid config of a run" in complaint) == (2, True), complaint
    (path / "config.yaml").write_text(config)
    (path / "best.pt").write_bytes(b"not a checkpoint")
    code, output, complaint = metarun("test", f"run={path}")
    assert code == 0, complaint
    assert "best.pt cannot be read (UnpicklingError); using the weights in last.pt" in output
    assert len({read(row)["accuracy"] for row in Path("results/runs").iterdir()}) == 1
    (path / "last.pt").write_bytes(b"")
    code, _, complaint = metarun("test", f"run={path}", "force=true")
    assert (code, "best.pt cannot be read" in complaint) == (2, True), complaint
    (path / "result.json").write_text("{")
    code, _, complaint = metarun("train", *SMALL)
    assert (code, "result.json has changed since the run finished" in complaint) == (2, True), complaint
    (path / "SHA256SUMS").unlink()
    code, _, complaint = metarun("train", *SMALL)
    assert (code, "result.json cannot be read" in complaint) == (2, True), complaint


@pytest.mark.slow
@pytest.mark.sampled
def test_a_checkpoint_is_never_executed(metarun, tmp_path):
    class Malice:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    metarun("train", *SMALL)
    for name in ("best.pt", "last.pt"):
        torch.save({"algorithm": Malice()}, the_run() / name)
    code, _, complaint = metarun("test", f"run={the_run()}")
    assert (code, "best.pt cannot be read" in complaint) == (2, True), complaint
    assert not (tmp_path / "executed").exists()


@pytest.mark.sampled
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGUSR2, 140)]
)
def test_a_stopped_run_resumes_and_reproduces_an_undisturbed_one(metarun, number, code):
    words = ["train", "train.iterations=60", "train.validate_every=20", "train.validate_tasks=20", "test.tasks=20"]
    words += ["backbone.filters=32", "train.meta_batch=16"]
    process = subprocess.Popen(
        [sys.executable, "-m", "metarun", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:  # until the second third of the training
        if "step 20" in line:
            break
    time.sleep(0.3)
    process.send_signal(number)
    asked = time.monotonic()
    _, complaint = process.communicate(timeout=30)
    took = time.monotonic() - asked
    assert process.returncode == code
    assert complaint == "metarun: stopped; rerun the same command to resume.\n"
    assert took < 5, "a loaded machine takes longer than the second that an idle one needs"
    path = the_run()
    assert not (path / "result.json").exists()
    stopped_at = torch.load(path / "last.pt", weights_only=True)["progress"]["iteration"]
    assert 20 <= stopped_at < 60

    _, printed, _ = metarun(*words)
    assert f"resuming from step {stopped_at}" in printed
    resumed = numbers(path)
    metarun(*words, "results_dir=undisturbed")
    (undisturbed,) = Path("undisturbed/runs").iterdir()
    assert numbers(undisturbed) == resumed


SLEEPY = """
import os
import time
from itertools import product
from pathlib import Path

from metarun.algorithms import ProtoNet


class Sleepy(ProtoNet):
    def meta_loss(self, tasks):
        self.steps = getattr(self, "steps", 0) + 1
        loss = super().meta_loss(tasks)  # which updates running statistics
        if self.steps == 5 and "SLEEP" in os.environ:
            Path("asleep").touch()
            time.sleep(60)
        return loss
"""


BIG = """
import threading
import time
from itertools import product
from pathlib import Path

import numpy as np

from metarun.data import SPLITS, ClassDataset
from metarun.data.files.cache_file import ExampleStream
from metarun.data.files.cache import Storage, load_or_build

CLASSES, EXAMPLES, SHAPE = 400, 30, (3, 84, 84)  # 254 MB in meta-training


def anonymous_mb():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous")) / 1024


def watch(before):
    most = 0.0
    while True:
        most = max(most, anonymous_mb() - before)
        Path("most_mb.new").write_text(str(most))
        Path("most_mb.new").replace("most_mb")  # complete, whenever the process ends
        time.sleep(0.02)


class Big:
    name = "big"

    def __init__(self, storage: Storage):
        self.storage = storage

    def load(self):
        threading.Thread(target=watch, args=(anonymous_mb(),), daemon=True).start()
        return ClassDataset("big", {split: self.split(split) for split in SPLITS})

    def split(self, split):
        classes = CLASSES if split == "train" else 10
        names = tuple(f"{split} {c}" for c in range(classes))
        offsets = EXAMPLES * np.arange(classes + 1)
        made = ExampleStream(self.make(classes, SPLITS.index(split)), SHAPE, np.dtype(np.uint8), offsets, names)
        return load_or_build(Path(f"{split}.npz").absolute(), "big", lambda: made, self.storage)

    def make(self, classes, seed):
        random = np.random.default_rng(seed)
        for _ in range(classes):
            yield random.integers(0, 256, (EXAMPLES, *SHAPE), np.uint8)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells how much memory is anonymous")
def test_data_on_disk_use_a_small_part_of_their_size_in_memory():
    Path("big.py").write_text(BIG)
    words = [
        "train",
        "algo=protonet",
        "data._target_=big.Big",
        "~data.split",
        "~data.invert",
        "backbone=mlp",
        "backbone.hidden=[8]",
    ]
    words += ["train.way=5", "train.query=2", "task.query=2", "train.meta_batch=2", "train.validate_tasks=5"]
    words += ["train.iterations=20", "train.validate_every=10", "test.tasks=5", "force=true"]
    most, rows = {}, {}
    for storage in ("disk", "memory"):  # the first also builds the cache
        command = [sys.executable, "-m", "metarun", *words, f"data.storage={storage}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, timeout=200, capture_output=True, env=environment)
        most[storage], rows[storage] = float(Path("most_mb").read_text()), numbers(the_run())
    assert most["memory"] - most["disk"] > 200, "of the 254 MB; the network, and what torch imports late, is in both"
    assert rows["disk"] == rows["memory"]


@pytest.mark.slow
def test_a_slow_step_is_interrupted_and_repeated(metarun, monkeypatch):
    Path("sleepy.py").write_text(SLEEPY)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    words = ["train", "algo=protonet", "algo._target_=sleepy.Sleepy", "backbone.norm=running", *SMALL]
    words += ["train.iterations=6", "train.validate_every=2"]
    command = [sys.executable, "-m", "metarun", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "SLEEP": "1"})
    for _ in range(600):
        if Path("asleep").exists():
            break
        time.sleep(0.1)
    asked = time.monotonic()
    process.terminate()
    _, complaint = process.communicate(timeout=50)
    assert time.monotonic() - asked < 5, "a loaded machine takes longer than the second that an idle one needs"
    assert (process.returncode, complaint) == (143, "metarun: stopped; rerun the same command to resume.\n")
    assert torch.load(the_run() / "last.pt", weights_only=True)["progress"]["iteration"] == 4

    _, printed, _ = metarun(*words)
    assert "resuming from step 4" in printed
    resumed = numbers(the_run())
    metarun(*words, "force=true")
    assert numbers(the_run()) == resumed


@pytest.mark.slow
def test_a_killed_run_resumes_and_reproduces_an_undisturbed_one(metarun):
    words = ["train", "algo=protonet", *SMALL, "train.iterations=40", "train.validate_every=10"]
    process = subprocess.Popen([sys.executable, "-m", "metarun", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "step 20" in line:
            process.kill()
            break
    process.wait(timeout=30)
    process.stdout.close()
    assert not (the_run() / "result.json").exists()
    assert metarun(*words)[0] == 0
    resumed = numbers(the_run())
    metarun(*words, "force=true")
    assert numbers(the_run()) == resumed


@pytest.mark.slow
def test_two_processes_of_the_same_run_do_the_work_once():
    words = [sys.executable, "-m", "metarun", "train", *SMALL, "train.iterations=30"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert sum("meta-training" in text for text in printed) >= 1
    assert sum("Already finished" in text for text in printed) == 1, printed


@pytest.mark.slow
def test_training_on_the_real_omniglot(metarun, mirror, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    code, *_ = metarun(
        "train",
        "algo=protonet",
        "data=omniglot",
        "train.iterations=60",
        "train.way=20",
        "train.validate_every=60",
        "test.tasks=200",
    )
    assert code == 0
    record = read(the_run("protonet-omniglot-5w1s-*"))
    assert record["accuracy"] - record["accuracy_ci95"] > record["floor_accuracy"] + 0.2
    assert 0.42 < record["floor_accuracy"] < 0.58, "the data card measured 49.7 % with the cosine distance"


@pytest.mark.slow
def test_training_on_the_real_caltech_101(metarun, mirror, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    few = ["train.iterations=20", "train.way=5", "train.query=5", "train.validate_every=20", "train.validate_tasks=20"]
    code, *_ = metarun(
        "train", "algo=protonet", "data=caltech101", "task=5way5shot", *few, "task.query=5", "test.tasks=60"
    )
    assert code == 0
    record = read(the_run("protonet-caltech101-5w5s-*"))
    assert record["accuracy"] - record["accuracy_ci95"] > record["chance"]
    assert record["floor_accuracy"] > 0.3, "the data card measured 45.0 % with the cosine distance"


def test_an_error_names_the_recipe_that_set_a_key(metarun, tmp_path):
    write_pictures(tmp_path / "pictures", count=6)
    words = ["algo=protonet", "data=image_folder", "data.root=pictures", "data.size=12", "train.way=2", "task.query=2"]
    code, _, complaint = metarun("train", *words, "task.way=2")
    assert code == 2
    told = (
        "in split 'train' of image_folder has 6 examples; lower `train.query` (15, set by recipe=protonet_miniimagenet)"
    )
    assert told in complaint
    code, _, complaint = metarun("train", *words, "task.way=2", "train.query=${task.query}", "task.shot=9")
    assert code == 2
    assert "has 6 examples; lower `task.shot` (9, set by the command)." in complaint


def test_a_run_with_zero_steps_says_so(metarun):
    few = ["train.iterations=1", "train.validate_tasks=1", "test.tasks=2", "train.meta_batch=1"]
    _, printed, _ = metarun("train", "algo=maml", "data=sinusoid", "test.steps=0", "task.shot=3", *few)
    assert "(test.steps=0)" in printed
    run = the_run()
    assert read(run)["steps_asked"] == 0
    code, printed, _ = metarun("test", f"run={run}", "data=sinusoid", "data.x=[0,1]", "test.steps=1")
    assert code == 0
    assert "3 support points" in printed, "the YAML of the data has 10"
