"""Loggers: what each writes is read back with its own library, after interruptions and failures too."""

import json
import logging
import struct
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from metarun import loggers
from metarun.errors import Interrupted
from metarun.loggers import Logbook, LoggedRun
from metarun.loggers.observer import TrainingProgress, Validation
from metarun.results.metrics import ACCURACY, MSE
from metarun.system.signals import Interruption
from tests.support.commands import run_here
from tests.support.markers import few_of

SMALL = [
    *("algo=protonet", "backbone.filters=8", "train.way=5", "train.iterations=30", "train.validate_every=10"),
    *("train.validate_tasks=6", "test.tasks=20"),
]
ALL = ["csv", "tensorboard", "wandb", "mlflow"]
WITH_ALL = f"logger=[{','.join(ALL)}]"

Series = dict[str, list[tuple[int, float]]]  # metric → logged (step, value)


def read_csv(run: Path) -> Series:
    found = defaultdict(list)
    for step, metric, value in pd.read_csv(run / "metrics.csv").itertuples(index=False):
        found[metric].append((step, value))
    return found


def read_tensorboard(run: Path) -> Series:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def wandb_records(run: Path) -> Iterator[object]:
    """Yield the records of the offline files: protocol buffers in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        content, at, whole = path.read_bytes(), 7, b""
        while at + 7 <= len(content):
            if 32768 - at % 32768 < 7:  # the rest of the block is too short for a header
                at += 32768 - at % 32768
            _, size, kind = struct.unpack("<IHB", content[at : at + 7])
            whole += content[at + 7 : at + 7 + size]
            at += 7 + size
            if kind in (1, 4):  # whole, or last part
                record = wandb_internal_pb2.Record()
                record.ParseFromString(whole)
                yield record
                whole = b""


def read_wandb(run: Path) -> Series:
    found = defaultdict(list)
    for record in wandb_records(run):
        row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        step = row.get("adaptation_step", row.get("_step"))
        for metric, value in row.items():
            if "/" in metric:
                found[metric].append((step, value))
        for item in record.summary.update:
            key = item.key or item.nested_key[0]
            if key.startswith("test/") and not key.endswith("by_step"):
                found[key] = [(30, json.loads(item.value_json))]
    return found


def mlflow_client(run: Path):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{run.parents[1].resolve() / 'mlflow.db'}")


def read_mlflow(run: Path) -> Series:
    client = mlflow_client(run)
    (found,) = client.search_runs([client.get_experiment_by_name("metarun").experiment_id])
    metrics = {name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    return {name: sorted((m.step, m.value) for m in history) for name, history in metrics.items()}


READ = {"csv": read_csv, "tensorboard": read_tensorboard, "wandb": read_wandb, "mlflow": read_mlflow}


def stopped_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the next run after that many steps, as by Ctrl-C."""
    from metarun.training.loop import Training

    take_step = Training._step

    def step_or_stop(training: Training) -> None:
        take_step(training)
        if training.progress.iteration == step:
            monkeypatch.setattr(Interruption, "check", lambda self: (_ for _ in ()).throw(Interrupted(2)))

    monkeypatch.setattr(Training, "_step", step_or_stop)


@pytest.fixture(scope="session")
def logged(session_folder: Path) -> Path:
    """A run with all loggers: stopped at step 15, resumed to its end, and shown again."""
    folder = session_folder / "logged"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):  # one worker trains, the others wait
        if not (folder / "unlogged").exists():
            _train_logged(folder)
    (path,) = (folder / "results" / "runs").iterdir()
    return path


def _train_logged(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "01234567")
        with pytest.MonkeyPatch.context() as stop:
            stopped_at(15, stop)
            assert run_here("train", *SMALL, WITH_ALL) == 130
        assert run_here("train", *SMALL, WITH_ALL) == 0
        assert run_here("train", *SMALL, WITH_ALL) == 0
        assert run_here("train", *SMALL, "results_dir=unlogged") == 0


@pytest.mark.slow
@pytest.mark.parametrize("logger", ALL)
def test_a_logger_has_the_metrics_of_the_run_and_each_step_once(logged: Path, logger: str) -> None:
    found = READ[logger](logged)
    curve = pd.read_csv(logged / "curve.csv")
    record = json.loads((logged / "result.json").read_text())
    val = curve[curve.split == "val"]
    train = curve[curve.split == "train"]

    def same(metric: str, steps: list[int], values: list[float]) -> None:
        assert [step for step, _ in found[metric]] == steps, metric
        assert [value for _, value in found[metric]] == pytest.approx(values), metric

    same("train/loss", [10, 20, 30], train.loss.tolist())
    same("train/learning_rate", [10, 20, 30], [0.001] * 3)
    same("val/accuracy", [10, 20, 30], val.accuracy.tolist())
    same("val/loss", [10, 20, 30], val.loss.tolist())
    assert len(found["val/accuracy_ci95"]) == len(found["train/steps_per_second"]) == 3
    same("test/accuracy", [30], [record["accuracy"]])
    same("test/accuracy_ci95", [30], [record["accuracy_ci95"]])
    same("test/accuracy_by_step", [0], record["accuracy_by_step"])


@pytest.mark.slow
def test_loggers_change_neither_the_id_nor_the_numbers(logged: Path) -> None:
    (plain,) = (logged.parents[2] / "unlogged" / "runs").iterdir()
    assert plain.name == logged.name
    assert (plain / "tasks.parquet").read_bytes() == (logged / "tasks.parquet").read_bytes()
    curves = [pd.read_csv(path / "curve.csv").drop(columns="seconds") for path in (plain, logged)]
    pd.testing.assert_frame_equal(*curves)
    assert not {"metrics.csv", "tensorboard", "wandb"} & {path.name for path in plain.iterdir()}


@pytest.mark.slow
def test_no_secret_is_written(logged: Path) -> None:
    files = [path for path in logged.parents[2].rglob("*") if path.is_file()]
    assert [path for path in files if b"0123456789abcdef0123456789" in path.read_bytes()] == []


@pytest.mark.slow
def test_the_config_is_logged_as_hyper_parameters(logged: Path) -> None:
    client = mlflow_client(logged)
    (found,) = client.search_runs([client.get_experiment_by_name("metarun").experiment_id])
    assert found.data.params["train.outer_lr"] == "0.001"
    assert found.data.params["chosen.algo"] == "protonet"
    assert not [key for key in found.data.params if key.startswith("logger")]
    assert (found.info.status, found.info.run_name) == ("FINISHED", logged.name)

    (first, second) = [record.run for record in wandb_records(logged) if record.HasField("run")]
    assert {first.run_id, second.run_id} == {logged.name[-8:]}
    config = {item.key or item.nested_key[0]: item.value_json for item in first.config.update}
    assert config["train.outer_lr"] == "0.001"

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(str(logged / "tensorboard"))
    events.Reload()
    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["train.outer_lr"].number_value == 0.001


def logged_run(folder: Path, step: int) -> LoggedRun:
    path = folder / "runs" / "maml-glyphs-5w1s-0a1b2c3d"
    path.mkdir(parents=True, exist_ok=True)
    return LoggedRun(path, "0a1b2c3d", folder, step, {"seed": 0})


MAKE = {
    "csv": loggers.Csv,
    "tensorboard": loggers.TensorBoard,
    "mlflow": lambda: loggers.MLflow(None, "metarun"),
}


@pytest.mark.parametrize("logger", ["csv", "tensorboard", pytest.param("mlflow", marks=pytest.mark.slow)])
def test_steps_after_the_checkpoint_of_a_killed_run_are_logged_once(tmp_path: Path, logger: str) -> None:
    killed, again = MAKE[logger](), MAKE[logger]()
    killed.begin(logged_run(tmp_path, 0))
    for step in (10, 20, 30):
        killed.log(step, {"train/loss": step / 10})
    again.begin(logged_run(tmp_path, 20))
    for step in (30, 40):
        again.log(step, {"train/loss": step / 10})
    again.close("finished")
    killed.close("failed")
    assert READ[logger](logged_run(tmp_path, 0).path)["train/loss"] == [(10, 1), (20, 2), (30, 3), (40, 4)]


def test_a_truncated_row_is_dropped(tmp_path: Path) -> None:
    run = logged_run(tmp_path, 20)
    (run.path / "metrics.csv").write_text("step,metric,value\n10,train/loss,0.5\n20,val/loss,0.2\n20,train/l")
    csv = loggers.Csv()
    csv.begin(run)
    csv.close("finished")
    assert (run.path / "metrics.csv").read_text() == "step,metric,value\n10,train/loss,0.5\n20,val/loss,0.2\n"


def test_a_restarted_run_overwrites_its_log(tmp_path: Path) -> None:
    for logger in ("csv", "tensorboard"):
        for value in (1.0, 2.0):
            made = MAKE[logger]()
            made.begin(logged_run(tmp_path, 0))
            made.log(10, {"train/loss": value})
            made.close("finished")
        assert READ[logger](logged_run(tmp_path, 0).path)["train/loss"] == [(10, 2)]


class Breaking:
    """A logger that fails at the second step."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def begin(self, run):
        self.calls.append("begin")

    def log(self, step, figures):
        self.calls.append(step)
        if step == 20:
            raise ConnectionError("the server\nhas gone")

    def conclude(self, step, figures, by_step):
        self.calls.append("conclude")

    def close(self, outcome):
        self.calls.append(outcome)


def test_a_failing_logger_is_disabled_with_a_warning_and_the_others_continue(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    breaking, csv = Breaking(), loggers.Csv()
    logbook = Logbook({"breaking": breaking, "csv": csv}, ACCURACY)
    run = logged_run(tmp_path, 0)
    with caplog.at_level(logging.WARNING, "metarun"), logbook.open_for(run):
        for step in (10, 20, 30):
            logbook.on_progress(TrainingProgress(step, step / 30, 0.5, 0.001, 1.0))
            logbook.on_progress(TrainingProgress(step + 1, step / 30, 0.5, 0.001, 1.0, between=True))
        logbook.on_validation(Validation(30, 0.4, 0.75, None, best=True))
        logbook.on_test({"iterations": 30, "accuracy": 0.5, "accuracy_by_step": [0.2, 0.5]})
    assert breaking.calls == ["begin", 10, 20]
    assert [record.getMessage() for record in caplog.records] == [
        "logger=breaking failed and is now disabled; the run continues: ConnectionError: the server has gone"
    ]
    found = read_csv(run.path)
    assert found["train/loss"] == [(10, 0.5), (20, 0.5), (30, 0.5)]
    assert found["test/accuracy_by_step"] == [(0, 0.2), (1, 0.5)]
    assert "val/accuracy_ci95" not in found, "one task has no interval"


@pytest.mark.parametrize(("error", "outcome"), [(Interrupted(2), "interrupted"), (ValueError("bug"), "failed")])
def test_loggers_are_closed_with_the_outcome(tmp_path: Path, error: BaseException, outcome: str) -> None:
    logger = Breaking()
    with pytest.raises(type(error)), Logbook({"it": logger}, MSE).open_for(logged_run(tmp_path, 0)):
        raise error
    assert logger.calls == ["begin", outcome]


def test_an_interrupt_closes_the_loggers_without_waiting_long_for_a_busy_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    idle, busy = Breaking(), Breaking()
    logbook = Logbook({"idle": idle}, ACCURACY)
    with logbook.open_for(logged_run(tmp_path, 0)):
        thread = threading.Thread(target=logbook.interrupt)
        thread.start()
        thread.join(10)
        logbook.on_progress(TrainingProgress(10, 0.5, 0.5, 0.001, 1.0))
    assert idle.calls == ["begin", "interrupted"]

    monkeypatch.setattr("metarun.loggers.logbook.CLOSE_TIMEOUT", 0.05)
    logbook = Logbook({"busy": busy}, ACCURACY)

    def begin(run: LoggedRun) -> None:
        thread = threading.Thread(target=logbook.interrupt)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        busy.calls.append("begin")

    monkeypatch.setattr(busy, "begin", begin)
    with logbook.open_for(logged_run(tmp_path, 0)):
        pass
    assert busy.calls == ["begin", "finished"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["logger=cvs"], "unknown option logger=cvs. Did you mean 'csv'? Possible: csv, mlflow, tensorboard, wandb."),
        (["logger=[csv,tensorbord]"], "unknown option logger=tensorbord. Did you mean 'tensorboard'? Possible: csv,"),
        (["logger.wandb.mode=online"], "logger.wandb needs an option of logger, and none is selected: add logger="),
        (["logger=wandb", "logger.wandb.mode=no"], "logger.wandb.mode='no' is not one of offline, online"),
        (
            ["logger=mlflow", "logger.mlflow.tracking_uri=https://me:secret@host"],
            "logger.mlflow.tracking_uri=… contains a password or token, which other users could read",
        ),
    ],
)
def test_an_invalid_logger_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_here("train", *SMALL, *words) == 2
    assert capsys.readouterr().err.startswith(f"metarun: error: {sentence}")
    assert not list(tmp_path.glob("results/runs/*"))


@pytest.mark.parametrize("logger", few_of(["tensorboard", "wandb", "mlflow"], "mlflow"))
def test_the_error_for_a_missing_logger_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, logger: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, logger, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    assert run_here("train", *SMALL, f"logger={logger}") == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"metarun: error: logger={logger} needs a package that cannot be imported (")
    assert stderr.endswith(f"install it with: pip install 'metarun[{logger}]'\n")


def test_unused_loggers_are_not_imported() -> None:
    code = "import sys, metarun.loggers; print({'torch', 'tensorboard', 'wandb', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"
