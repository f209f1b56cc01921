"""Tasks and trainings that diverge are reported and counted, and the others are kept."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from metarun.algorithms import MAML, ProtoNet
from metarun.errors import TrainingDiverged, UserError
from metarun.evaluation.evaluate import Evaluation
from metarun.reporting.tables.flags import flags, rank_cells
from metarun.reporting.tables.rows import sorted_rows
from metarun.results.metrics import ACCURACY, MSE
from metarun.results.record_schema import schema_error
from metarun.results.records import figures_by_step
from metarun.runner.record import task_columns
from metarun.tasks.losses import confidence, correct
from tests.cli.test_compare import record
from tests.training.test_loop import Notes, make_training

SMALL = ["train.iterations=4", "train.validate_every=2", "train.validate_tasks=8", "test.tasks=12", "test.steps=2"]
WAVES = ["data=sinusoid", "task=10points", "backbone=mlp"]


class Exploding(MAML):
    """A MAML that diverges on a third of the waves, or on as many tasks of classes, at its last step."""

    def predict(self, tasks, steps):
        predictions = super().predict(tasks, steps)
        high = tasks.support_y if tasks.support_y.is_floating_point() else tasks.support_x
        predictions[-1, high.flatten(1).sum(1) % 3 < 1] = math.inf
        return predictions


class ExplodingNow(Exploding):
    """Diverges at meta-test, but not on meta-val."""

    def predict(self, tasks, steps):
        return super().predict(tasks, steps) if steps > 2 else MAML.predict(self, tasks, steps)


class Bursting(ProtoNet):
    """A ProtoNet whose loss is NaN after half of the training."""

    def on_step(self, fraction):
        self.burst = fraction >= 0.5

    def meta_loss(self, tasks):
        return super().meta_loss(tasks) * (math.nan if self.burst else 1.0)


def the_row(pattern: str = "*") -> tuple[Path, dict]:
    (path,) = Path("results/runs").glob(f"{pattern}/result.json")
    return path.parent, json.loads(path.read_text())


def errors(*last: float) -> Evaluation:
    """The evaluation of a regression with one step, on tasks whose error was 1 before it."""
    return Evaluation({"loss": torch.tensor([[1.0] * len(last), last])}, MSE)


def test_a_task_diverged_if_its_loss_is_not_finite_after_any_step():
    found = Evaluation({"loss": torch.tensor([[1.0, math.nan, 1.0, 1.0], [2.0, 2.0, math.inf, 1e30]])}, MSE)
    assert found.diverged.tolist() == [False, True, True, False]
    too_large = Evaluation({"loss": torch.tensor([[1e99, 1e101]], dtype=torch.float64)}, MSE)
    assert too_large.diverged.tolist() == [False, True], "or no row could be read back"


def test_the_mean_is_over_the_tasks_that_did_not_diverge_and_the_median_over_all():
    found = errors(1.0, 2.0, math.inf, 6.0, math.nan)
    assert found.headline.tolist() == [1.0, 2.0, 6.0]
    assert found.loss_by_step == [1.0, 3.0]
    assert found.median == 6.0
    assert errors(1.0, math.inf).median is None
    assert errors(math.inf).loss_by_step == []


def test_in_regression_a_validation_with_a_diverged_task_is_not_a_candidate():
    assert errors(1.0, 3.0).score == -2.0
    assert errors(1.0, math.nan).score == -math.inf
    accuracy = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    assert Evaluation({"loss": torch.tensor([[1.0, math.nan]]), "accuracy": accuracy}, ACCURACY).score == 0.25
    none_is_left = {"loss": torch.tensor([[math.inf, math.nan]]), "accuracy": accuracy}
    assert Evaluation(none_is_left, ACCURACY).score == -math.inf


def test_a_query_without_a_finite_prediction_is_wrong():
    logits = torch.tensor([[2.0, 1.0], [math.nan, 1.0], [math.inf, 1.0], [-math.inf, 1.0], [-math.inf] * 2])
    assert correct(logits, torch.tensor([0, 0, 0, 1, 0])).tolist() == [True, False, False, True, False]
    assert confidence(logits).tolist() == [pytest.approx(0.731, abs=1e-3), 0, 0, 1, 0]


def train_with_validations(monkeypatch, *found: Evaluation) -> Notes:
    """Train with the given results on meta-val."""
    results = iter(found)
    monkeypatch.setattr("metarun.training.validation.evaluate", lambda *_, **__: next(results))
    return Notes(make_training(ProtoNet, iterations=2 * len(found)))


def test_training_continues_after_a_validation_that_is_not_finite(monkeypatch):
    found = errors(5.0, 3.0), errors(1.0, math.inf), errors(7.0, 7.0), errors(math.nan, math.inf)
    notes = train_with_validations(monkeypatch, *found)
    training = notes.run().training
    assert (training.progress.iteration, training.progress.best_iteration, training.progress.best_value) == (8, 2, 4.0)
    assert notes.validations == [(2, 4.0, True), (4, 1.0, False), (6, 7.0, False), (8, None, False)]
    points = [row for row in training.progress.curve if row["split"] == "val"]
    assert [(row["loss"], row["median"], row["diverged"]) for row in points] == [
        *((4.0, 4.0, 0), (1.0, None, 1), (7.0, 7.0, 0), (None, None, 2)),
    ]


def test_a_diverged_training_names_its_step_and_keeps_the_best_checkpoint(monkeypatch):
    notes = train_with_validations(monkeypatch, errors(5.0), errors(4.0), errors(3.0))
    meta_loss = notes.training.algorithm.meta_loss
    broken = iter([1.0, 1.0, 1.0, 1.0, math.nan, 1.0])
    notes.training.algorithm.meta_loss = lambda tasks: meta_loss(tasks) * next(broken)
    with pytest.raises(TrainingDiverged, match="the meta-training loss became nan by step 6") as told:
        notes.run()
    assert told.value.step == 6
    assert notes.training.progress.best_iteration == 4


def test_losses_that_are_not_finite_are_missing_values_in_tasks_parquet(tmp_path):
    pd.DataFrame(task_columns(errors(1.0, math.inf, 3.0), {})).to_parquet(tmp_path / "tasks.parquet")
    row = {"path": tmp_path, "mse": 2.0, "test_tasks": 3, "diverged": 1}
    assert figures_by_step(row).tolist() == [[1.0, 1.0], [1.0, 3.0]]
    with pytest.raises(UserError, match="tasks without a value: 1, but 0 diverged"):
        figures_by_step({**row, "diverged": 0})


@pytest.mark.parametrize("diverged", [-1, 2.5, 600, "3"])
def test_a_row_in_which_all_tasks_diverged_is_invalid(diverged):
    wrong = {**record(test_tasks=600, mse=1.0), "status": "done", "diverged": diverged}
    assert schema_error(wrong) == "`diverged` is invalid"
    assert schema_error({**wrong, "diverged": 599}) is None


def test_a_failed_row_with_a_checkpoint_has_all_keys_that_a_test_needs():
    row = {"id": "a", "status": "failed", "reason": "the loss", "training_status": "diverged"}
    assert schema_error({"status": "failed", "reason": "the loss"}) is None
    assert schema_error(row) == "`algo` is missing"


def test_a_result_without_some_tasks_is_flagged_sorted_last_and_never_best():
    rows = [record(id=name, mse=mse, stream_hash="s", test_tasks=600) for name, mse in (("a", 3.0), ("b", 1.0))]
    for row in rows:
        del row["accuracy"]
    rows[1]["diverged"] = 3
    assert [row["id"] for row in sorted_rows(rows)] == ["a", "b"]
    assert flags(rows) == [[], ["diverged"]]
    assert rank_cells([[row] for row in rows])[0] == ["", ""]


def test_a_regression_with_diverged_tasks_finishes_and_reports_their_number(metarun):
    code, printed, _ = metarun(
        "train", "algo=maml", "algo._target_=tests.commands.test_diverged.ExplodingNow", *WAVES, *SMALL
    )
    assert code == 0
    _, trained = the_row()
    assert (trained["diverged"], trained["val_diverged"]) == (0, 0)
    code, printed, _ = metarun(
        "test",
        f"run={trained['id']}",
        "trust=[tests.commands.test_diverged.ExplodingNow]",
        "test.steps=3",
        "audit=true",
    )
    assert code == 0
    (row,) = (
        found
        for path in Path("results/runs").glob("*/result.json")
        if (found := json.loads(path.read_text()))["steps"] == 3
    )
    tasks = pd.read_parquet(next(Path("results/runs").glob(f"*{row['id']}")) / "tasks.parquet")
    last = tasks.loc[tasks["step"] == 3, "loss"]
    assert 0 < row["diverged"] == last.isna().sum() < 12
    assert row["mse"] == pytest.approx(last.mean())
    assert row["mse_median"] == pytest.approx(np.median(last.fillna(math.inf)))
    assert f"{row['diverged']} of 12 meta-test tasks diverged by step 3" in printed
    assert f"over {12 - row['diverged']} of 12 tasks" in " ".join(printed.replace("│", "").split())
    code, printed, complaint = metarun("compare")
    assert "∞ some meta-test tasks diverged" in printed
    code, _, complaint = metarun("compare", "--against", row["id"])
    assert (code, f"diverged on {row['diverged']} of 12 tasks and cannot be compared" in complaint) == (2, True)
    for words in (["report"], ["plot", "curve"], ["plot", "tasks", row["id"]], ["compare", "--rows", "steps"]):
        assert metarun(*words)[0] == 0, words


def test_a_run_without_a_finite_validation_fails_and_keeps_its_last_weights(metarun):
    code, printed, complaint = metarun(
        "train", "algo=maml", "algo._target_=tests.commands.test_diverged.Exploding", *WAVES, *SMALL
    )
    assert code == 1
    assert "of 8 meta-val tasks diverged at step 2: this checkpoint cannot be selected" in printed
    assert "meta-val tasks diverged in every validation, " in complaint
    assert "of 8 in the last one, so no checkpoint could be chosen; lower `algo.inner_lr`, `test.steps` (" in complaint
    run, row = the_row()
    assert row["status"] == "failed"
    assert (run / "last.pt").is_file()
    assert not (run / "best.pt").is_file()
    code, _, complaint = metarun("test", f"run={row['id']}", "trust=[tests.commands.test_diverged.Exploding]")
    assert (code, "failed before a checkpoint was chosen (meta-val tasks diverged" in complaint) == (2, True)
    code, _, complaint = metarun("rerun", row["id"])
    assert (code, "failed (meta-val tasks diverged in every validation" in complaint) == (2, True)


@pytest.mark.slow
def test_diverged_tasks_of_classification_count_as_wrong_and_the_run_finishes(metarun):
    words = [
        "algo=maml",
        "algo._target_=tests.commands.test_diverged.Exploding",
        "backbone.filters=4",
        "train.meta_batch=1",
    ]
    code, printed, _ = metarun("train", *words, *SMALL)
    assert code == 0
    assert "count as wrong" in printed
    run, row = the_row()
    tasks = pd.read_parquet(run / "tasks.parquet")
    last = tasks[tasks["step"] == 2]
    assert 0 < row["diverged"] == last["loss"].isna().sum() < 12
    assert (last.loc[last["loss"].isna(), ["accuracy", "confidence"]] == 0).all(axis=None)
    assert row["accuracy"] == pytest.approx(last["accuracy"].mean())
    assert row["loss_by_step"][-1] == pytest.approx(last["loss"].mean())
    assert metarun("compare", "--against", row["id"])[0] == 2, "there is no other run"


@pytest.mark.slow
def test_a_diverged_training_fails_but_its_best_checkpoint_can_be_tested_and_is_marked(metarun):
    words = [
        "algo=protonet",
        "algo._target_=tests.commands.test_diverged.Bursting",
        "backbone.filters=4",
        "train.way=5",
    ]
    code, printed, complaint = metarun("train", *words, *SMALL)
    assert "the best checkpoint (step 2) is kept; `metarun test run=" in printed
    assert (code, "the meta-training loss became nan by step 4" in complaint) == (1, True)
    run, failed = the_row()
    assert (failed["status"], failed["training_status"], failed["training_diverged_at"]) == ("failed", "diverged", 4)
    assert len(pd.read_csv(run / "curve.csv")) == 2
    assert metarun("train", *words, *SMALL)[0] == 1, "the same command says so again"
    code, printed, _ = metarun(
        "test", f"run={failed['id']}", "trust=[tests.commands.test_diverged.Bursting]", "test.tasks=30"
    )
    assert code == 0
    assert "its training diverged by step 4; testing the checkpoint of step 2" in printed
    (row,) = (
        found
        for path in Path("results/runs").glob("*/result.json")
        if (found := json.loads(path.read_text()))["status"] == "done"
    )
    assert (row["trained_by"], row["training_diverged_at"], row["best_iteration"]) == (failed["id"], 4, 2)
    assert "training" in flags([{**row, "path": "."}])[0]
    _, printed, _ = metarun("compare")
    assert "× its training diverged" in printed
    trusted = "trust=[tests.commands.test_diverged.Bursting]"
    code, _, complaint = metarun("test", f"run={failed['id']}", trusted, "test.weights=last")
    assert (code, f"test.weights=last but {run} diverged by step 4" in complaint) == (2, True), complaint


@pytest.mark.slow
def test_an_unfinished_training_cannot_be_tested(metarun):
    code, _, _ = metarun("train", "algo=protonet", "backbone.filters=4", "train.way=5", *SMALL)
    run, row = the_row()
    (run / "result.json").unlink()
    (run / "SHA256SUMS").unlink()
    code, _, complaint = metarun("test", f"run={row['id']}")
    assert (code, "is not a finished training" in complaint) == (2, True)


@pytest.mark.slow
def test_a_meta_test_in_which_all_tasks_diverge_fails(metarun, monkeypatch):
    code, _, _ = metarun("train", "algo=maml", *WAVES, *SMALL)
    assert code == 0
    monkeypatch.setattr("metarun.runner.record.evaluate", lambda *_: errors(*[math.inf] * 12))
    code, _, complaint = metarun("test", f"run={the_row()[1]['id']}", "test.seed=1")
    assert (code, "all 12 meta-test tasks diverged by step 1; lower `test.steps`" in complaint) == (1, True)
