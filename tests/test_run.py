"""Whole runs through the command line: what they leave behind, that they can be had again, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from metarun import cli

SMALL = ["train.iterations=6", "train.validate_every=3", "train.validate_tasks=6", "test.tasks=8", "backbone.filters=8"]
TIMINGS = {"train_seconds", "test_seconds", "tasks_per_second", "adapt_ms", "peak_memory_mb", "commit"}
CONTRACT = set(
    """id status algo data backbone way shot query seed test_way test_shot test_query test_tasks accuracy accuracy_ci95
    accuracy_by_step loss_by_step steps val_accuracy best_iteration iterations chance floor_accuracy norm transductive
    order parameters train_seconds test_seconds tasks_per_second adapt_ms peak_memory_mb device stream_hash data_hash
    version commit""".split()  # noqa: SIM905, the contract as it is written
)
FILES = {
    "config.yaml",
    "result.json",
    "curve.csv",
    "tasks.parquet",
    "best.pt",
    "last.pt",
    "environment.json",
    "run.log",
}


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def metarun(monkeypatch, capsys):
    """Run a command in this process; return its exit code, what it printed and what it complained of."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["metarun", *words])
        code = cli.main()
        return code, *capsys.readouterr()

    return run


def the_run(pattern="*") -> Path:
    (path,) = Path("results/runs").glob(pattern)
    return path


def read(path: Path) -> dict:
    return json.loads((path / "result.json").read_text())


def numbers(path: Path) -> dict:
    """All that must be the same when a run is had again: everything but timings."""
    curve = pd.read_csv(path / "curve.csv").drop(columns="seconds")
    tasks = pd.read_parquet(path / "tasks.parquet")
    record = {key: value for key, value in read(path).items() if key not in TIMINGS}
    return {"record": record, "curve": curve.to_csv(), "tasks": tasks.to_csv()}


@pytest.mark.parametrize("algo", ["maml", "fomaml", "protonet"])
def test_a_run_leaves_the_contracts_files_and_keys(metarun, algo):
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
    assert list(curve.columns) == ["iteration", "split", "loss", "accuracy", "seconds"]
    assert curve.iteration.tolist() == [3, 3, 6, 6]
    environment = json.loads((path / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__
    assert {"commit", "host", "device", "command", "threads"} <= set(environment)
    assert "meta-val accuracy" in (path / "run.log").read_text()


def test_the_same_command_again_finds_the_run_and_force_repeats_it_to_the_bit(metarun):
    metarun("train", *SMALL)
    path = the_run()
    before, written = numbers(path), (path / "result.json").stat().st_mtime_ns
    code, printed, _ = metarun("train", *SMALL, "device=cpu", "train.over_tasks=auto")
    assert code == 0
    assert "This run is there already; force=true repeats it." in printed
    assert (path / "result.json").stat().st_mtime_ns == written
    metarun("train", *SMALL, "force=true")
    assert (the_run() / "result.json").stat().st_mtime_ns > written
    assert numbers(path) == before


def test_the_stored_config_makes_the_same_run_again(metarun):
    metarun("train", *SMALL)
    path = the_run()
    before = numbers(path)
    code, *_ = metarun("train", "--config-path", str(path), "--config-name", "config", "force=true")
    assert code == 0
    assert the_run() == path
    assert numbers(path) == before


def test_another_seed_is_another_run_on_the_same_test_tasks(metarun):
    metarun("train", "-m", "algo=protonet", "seed=0,1", *SMALL)
    first, second = (read(path) for path in Path("results/runs").iterdir())
    assert first["accuracy"] != second["accuracy"]
    assert first["stream_hash"] == second["stream_hash"]


def test_a_finished_run_is_tested_on_other_tasks_without_training(metarun):
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
    assert "This run is there already" in printed

    same_setting, *_ = metarun("test", f"run={trained['id']}")
    assert same_setting == 0
    retested = [read(p) for p in Path("results/runs").glob("protonet-glyphs-5w1s-*") if p.name[-8:] != trained["id"]]
    assert [r["accuracy"] for r in retested] == [trained["accuracy"]]
    assert [r["stream_hash"] for r in retested] == [trained["stream_hash"]]


def test_sinusoid_regression_gives_squared_errors(metarun):
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


def test_a_diverged_run_fails_with_its_reason_now_and_later(metarun):
    diverging = ["train", *SMALL, "algo.inner_lr=1e30"]
    code, _, complaint = metarun(*diverging)
    assert code == 1
    assert "the meta-training loss became" in complaint
    assert read(the_run())["status"] == "failed"
    code, _, complaint = metarun(*diverging)
    assert code == 1
    assert "this run failed before, force=true tries again: the meta-training loss" in complaint


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["task.way=500"], "way=500 but split 'train' of glyphs has"),
        (["task.way=44", "train.way=5"], "way=5 but this maml has a head for 44 classes"),
        (["algo=protonet", "task.way=44"], "way=44 but split 'val' of glyphs has 43 classes; lower `task.way`"),
        (["task.shot=10"], "shot + query = 10 + 15 but class"),
        (["task.shot=0"], "shot=0 but a task needs at least 1"),
        (["algo=protonet", "data=sinusoid"], "algo=protonet is for classification but data=sinusoid is regression"),
        (["data=sinusoid", "backbone=conv4"], "backbone=conv4 needs images but the data has examples of shape (1,)"),
        (["algo.inner_lr=fast"], "algo.inner_lr='fast' is not a number, as MAML takes"),
        (["algo.order=3"], "algo.order=3 is not one of 1, 2"),
        (["backbone.norm=btach"], "backbone.norm='btach' is not one of batch, running"),
        (["+algo.inner_stepz=3"], "`algo.inner_stepz` is no key of MAML"),
        (["algo._target_=metarun.algorithms.MALM"], "algo._target_=metarun.algorithms.MALM cannot be imported"),
        (["device=gpu"], "device=gpu cannot be used here"),
        (["precision=float8"], "precision=float8 is not one of float32, float64"),
        (["train.over_tasks=sideways"], "algo.over_tasks='sideways' is not one of auto, loop, vectorised"),
        (["train.time_budget=soon"], "train.time_budget='soon' is no length of time; write it like 90s"),
        (["test.tasks=0"], "test.tasks=0 but it must be at least 1"),
        (["~seed"], "seed"),
        (["seed=99999999999999999999"], "seed=99999999999999999999 but seeds go from 0 to 2^63 - 1"),
        (["task.way=1"], "way=1 leaves nothing to tell apart in glyphs"),
        (["backbone.filters=0"], "backbone.filters=0 but a convolution needs at least 1"),
        (
            ["backbone=mlp", "backbone.hidden=[a]"],
            "backbone.hidden=['a'] is not a list of which each entry is a whole number",
        ),
        (["data.split=nowhere.yaml"], "split 'nowhere.yaml' of glyphs is neither scripts nor an existing file"),
        (["train.clip_grad=-1"], "train.clip_grad=-1.0 but it must be above 0"),
        (["results_dir=/dev/null/x"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence_and_leaves_nothing(metarun, words, sentence):
    code, _, complaint = metarun("train", *words)
    assert code == 2
    assert complaint.startswith("metarun: error: ")
    assert complaint.count("\n") == 1
    assert sentence in complaint
    assert not list(Path("results/runs").glob("*"))


def test_a_refused_force_loses_nothing(metarun):
    metarun("train", *SMALL)
    before = numbers(the_run())
    code, _, _ = metarun("train", *SMALL, "force=true", "device=nowhere")
    assert code == 2
    assert numbers(the_run()) == before


def test_another_content_of_a_split_list_is_another_run(metarun):
    small = ["train", "algo=protonet", *SMALL, "train.way=5", "data.split=lists.yaml"]
    for test in ("GREEK", "CYRILLIC"):
        Path("lists.yaml").write_text(f"train: [LATIN]\nval: [GEORGIAN]\ntest: [{test}]\n")
        assert metarun(*small)[0] == 0
    first, second = Path("results/runs").iterdir()
    assert read(first)["stream_hash"] != read(second)["stream_hash"]
    Path("elsewhere.yaml").write_text(Path("lists.yaml").read_text())
    _, printed, _ = metarun(*small, "data.split=elsewhere.yaml")
    assert "This run is there already" in printed


def test_split_lists_that_overlap_are_refused(metarun):
    Path("lists.yaml").write_text("train: [LATIN]\nval: [GEORGIAN]\ntest: [GREEK, GEORGIAN]\n")
    code, _, complaint = metarun("train", "data.split=lists.yaml")
    assert code == 2
    assert "stands in both 'val' and 'test' of glyphs" in complaint


def test_an_id_that_looks_like_a_number_is_an_id(metarun):
    code, _, complaint = metarun("test", "run=12e45678")
    assert (code, "run=12e45678 is neither" in complaint) == (2, True), complaint


def test_a_meta_test_that_is_no_number_is_a_failure_not_a_row(metarun):
    words = ["algo=fomaml", "data=sinusoid", "train.iterations=4", "train.validate_every=2", "test.tasks=5"]
    metarun("train", *words, "algo.inner_lr=2", "test.steps=1")
    code, _, complaint = metarun("test", f"run={read(the_run())['id']}", "test.steps=400")
    assert code == 1
    assert "meta-test tasks is no number within 400 steps" in complaint
    code, _, complaint = metarun("train", *words, "algo.inner_lr=100", "test.steps=60")
    assert code == 1
    assert "the error on meta-val became" in complaint


def test_a_reader_that_leaves_does_not_end_the_run():
    command = f"{sys.executable} -m metarun train {' '.join(SMALL)} | head -1"
    subprocess.run(["bash", "-c", command], check=True, timeout=120, capture_output=True)
    for _ in range(100):
        if list(Path("results/runs").glob("*/result.json")):
            break
        time.sleep(0.2)
    assert read(the_run())["status"] == "done"


def test_a_run_that_cannot_serve_is_refused(metarun):
    metarun("train", *SMALL)
    path = the_run()
    for words, sentence in [
        (["run=zzz"], "run=zzz is neither a run's directory nor the start of an id"),
        ([f"run={path.name[-8:]}", "task.way=20"], "way=20 but this maml has a head for 5 classes"),
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
    assert (code, "is no config of a run" in complaint) == (2, True), complaint
    (path / "config.yaml").write_text(config)
    (path / "best.pt").write_bytes(b"not a checkpoint")
    code, _, complaint = metarun("test", f"run={path}")
    assert (code, "best.pt cannot be read" in complaint) == (2, True), complaint
    (path / "result.json").write_text("{")
    code, _, complaint = metarun("train", *SMALL)
    assert (code, "result.json cannot be read" in complaint) == (2, True), complaint


def test_a_checkpoint_is_never_executed(metarun, tmp_path):
    class Malice:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    metarun("train", *SMALL)
    torch.save({"algorithm": Malice()}, the_run() / "best.pt")
    code, _, complaint = metarun("test", f"run={the_run()}")
    assert (code, "best.pt cannot be read" in complaint) == (2, True), complaint
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_goes_on_to_the_very_numbers_of_an_undisturbed_one(metarun, number, code):
    words = ["train", "train.iterations=60", "train.validate_every=20", "train.validate_tasks=20", "test.tasks=20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "metarun", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:  # into the second third of the training
        if "step 20" in line:
            break
    time.sleep(0.3)
    process.send_signal(number)
    asked = time.monotonic()
    _, complaint = process.communicate(timeout=30)
    took = time.monotonic() - asked
    assert process.returncode == code
    assert complaint == "metarun: stopped; the same command goes on from here.\n"
    assert took < 5, "a loaded machine takes longer than the second that an idle one needs"
    path = the_run()
    assert not (path / "result.json").exists()
    stopped_at = torch.load(path / "last.pt", weights_only=True)["progress"]["iteration"]
    assert 20 <= stopped_at < 60

    _, printed, _ = metarun(*words)
    assert f"going on from step {stopped_at}" in printed
    resumed = numbers(path)
    metarun(*words, "results_dir=undisturbed")
    (undisturbed,) = Path("undisturbed/runs").iterdir()
    assert numbers(undisturbed) == resumed


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_very_numbers_of_an_undisturbed_one(metarun):
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
def test_two_processes_with_one_run_do_its_work_once():
    words = [sys.executable, "-m", "metarun", "train", *SMALL, "train.iterations=30"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert sum("meta-training" in text for text in printed) >= 1
    assert sum("This run is there already" in text for text in printed) == 1, printed


@pytest.mark.slow
def test_omniglot_is_learned_from_the_real_images(metarun, mirror, monkeypatch):
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
