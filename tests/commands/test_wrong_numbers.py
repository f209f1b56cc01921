"""Data, tasks, methods and metrics that are broken on purpose are detected."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metarun.algorithms import ProtoNet
from metarun.data import SPLITS, ClassDataset, Omniglot, Sinusoid
from metarun.data.duplicates import Duplicates, describe_duplicates, find_duplicates
from metarun.errors import UserError
from metarun.evaluation.transduction import check_predictions
from metarun.reporting.tables.flags import flags
from metarun.results.records import read_result
from metarun.results.run_directory import RunDirectory
from metarun.results.test_uses import record_test_use
from metarun.tasks.batch import TaskShape
from metarun.tasks.sampling import WithReplacement
from metarun.tasks.source import task_source
from metarun.tasks.validation import check_tasks
from tests.cli.test_compare import record
from tests.support.fake_images import write_pictures
from tests.support.synthetic import make_conv4, make_dataset, make_stream

SMALL = [
    *("train.iterations=1", "train.validate_every=1", "train.validate_tasks=2", "train.meta_batch=1", "train.way=5"),
    *("test.tasks=3", "backbone.filters=4"),
]


@pytest.fixture(autouse=True)
def _importable(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))


def rows() -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    return {each["id"]: each for each in found}


def the_row() -> dict:
    (row,) = rows().values()
    return row


# Data: test examples must be new.


def changed(data: ClassDataset, split: str, row: int, value: np.ndarray) -> ClassDataset:
    values = data.splits[split].values.copy()
    values[row] = value
    return ClassDataset(data.name, {**data.splits, split: replace(data.splits[split], values=values)})


def duplicates(data: ClassDataset) -> Duplicates:
    found = find_duplicates(data.name, data.hash, lambda: data.splits)
    assert found is not None
    return found


def test_a_class_in_two_splits_is_an_error():
    data = make_dataset()
    names = (*data.splits["test"].class_names[:-1], data.splits["train"].class_names[0])
    with pytest.raises(UserError, match="class 'train 0' is in both 'train' and 'test' of synthetic"):
        ClassDataset("synthetic", {**data.splits, "test": replace(data.splits["test"], class_names=names)})


def test_a_class_in_two_splits_under_two_names_is_an_error():
    data = make_dataset()
    data = changed(data, "test", slice(20, 40), data.splits["train"].values[60:80])
    with pytest.raises(
        UserError,
        match=r"class 'train 3' in 'train' of synthetic and class 'test 1' in 'test' have the same 20 examples; put",
    ):
        duplicates(data)


def test_an_example_in_two_splits_is_counted_and_named():
    data = make_dataset()
    assert duplicates(data) == Duplicates()
    data = changed(data, "test", 25, data.splits["train"].values[61])
    between = "number 2 of class 'train 3' in 'train' and number 6 of class 'test 1' in 'test'"
    assert duplicates(data) == Duplicates(across_splits=1, between=between)
    assert duplicates(data) == Duplicates(across_splits=1, between=between), "as it is kept"


def test_duplicates_within_a_split_are_counted_separately():
    data = make_dataset()
    data = changed(data, "val", 1, data.splits["val"].values[0])
    data = changed(data, "val", 45, data.splits["val"].values[100])
    between = "number 6 of class 'val 2' in 'val' and number 1 of class 'val 5' in 'val'"
    assert duplicates(data) == Duplicates(across_classes=1, within_a_class=1, between_classes=between)


def test_a_cached_count_of_an_older_version_without_class_names_is_recomputed(monkeypatch, tmp_path):
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))
    data = make_dataset()
    data = changed(data, "val", 45, data.splits["val"].values[100])
    found = duplicates(data)
    (kept,) = tmp_path.glob("duplicates/*.json")
    answer = json.loads(kept.read_text())
    del answer["between_classes"]
    kept.write_text(json.dumps(answer))
    assert duplicates(data) == found


def test_in_a_test_on_other_data_only_duplicates_of_test_examples_count():
    data = make_dataset(seed=32)
    data = changed(data, "train", 1, data.splits["train"].values[0])  # within a training class
    data = changed(data, "train", 45, data.splits["train"].values[100])  # in two training classes
    data = changed(data, "val", 7, data.splits["train"].values[7])  # in two splits other than the test split
    data = changed(data, "test", 25, data.splits["test"].values[100])
    data = changed(data, "test", 60, data.splits["val"].values[8])
    found = find_duplicates("both", data.hash, lambda: data.splits, test_only=True)
    assert found == Duplicates(
        across_splits=1,
        across_classes=1,
        between="number 9 of class 'val 0' in 'val' and number 1 of class 'test 3' in 'test'",
        between_classes="number 6 of class 'test 1' in 'test' and number 1 of class 'test 5' in 'test'",
    )
    assert duplicates(data).across_splits == 2, "as one data set"


def test_a_picture_in_two_classes_of_a_split_is_reported_and_flagged(metarun):
    write_pictures(Path("my_pictures"), count=20)
    Path("my_pictures/test/dark pink/7.png").write_bytes(Path("my_pictures/test/dark grey/3.png").read_bytes())
    few = ["train.query=2", "task.query=2", "task.way=2", "train.way=2"]
    code, printed, _ = metarun("train", "algo=protonet", "data=image_folder", "data.root=my_pictures", *SMALL, *few)
    assert code == 0
    two = "number 14 of class 'dark grey' in 'test' and number 18 of class 'dark pink' in 'test'"
    told = f"1 example found in more than one class of a split of image_folder: {two}; no method can tell which class"
    assert told in printed
    assert the_row()["duplicates_across_classes"] == 1
    _, printed, _ = metarun("compare")
    assert "⁂ some examples are in several classes of a split: no method can tell which class is meant." in printed


def test_several_duplicates_are_reported_with_an_example():
    clauses = [*describe_duplicates("birds", Duplicates(2, 1_000, 0, "these", "those"))]
    assert [clause.partition(";")[0] for clause in clauses] == [
        "2 examples found in more than one split of birds, such as these",
        "1,000 examples found in more than one class of a split of birds, such as those",
    ]
    (clause,) = describe_duplicates("birds", Duplicates(2, between="these"), trained_elsewhere=True)
    assert clause.startswith("2 examples of birds were trained on, such as these; meta-test may have been seen")


def test_a_picture_in_two_splits_is_reported_and_flagged(metarun):
    write_pictures(Path("my_pictures"), count=20)
    Path("my_pictures/test/dark pink/7.png").write_bytes(Path("my_pictures/train/grey/3.png").read_bytes())
    few = ["train.query=2", "task.query=2", "task.way=2", "train.way=2"]
    code, printed, _ = metarun("train", "algo=protonet", "data=image_folder", "data.root=my_pictures", *SMALL, *few)
    assert code == 0
    two = "number 14 of class 'grey' in 'train' and number 18 of class 'dark pink' in 'test'"
    told = f"1 example found in more than one split of image_folder: {two}; meta-test may have been seen in training"
    assert told in printed
    assert the_row()["duplicates_across_splits"] == 1
    _, printed, _ = metarun("compare")
    assert "‖ some examples are in more than one split: meta-test may have been seen in training." in printed


@pytest.mark.slow
@pytest.mark.sampled
def test_a_test_on_training_classes_is_refused(metarun):
    Path("mine.yaml").write_text("train: [LATIN]\nval: [GEORGIAN]\ntest: [GREEK]\n")
    Path("other.yaml").write_text("train: [GREEK]\nval: [GEORGIAN]\ntest: [LATIN]\n")
    assert metarun("train", "algo=protonet", "data.split=mine.yaml", *SMALL)[0] == 0
    code, _, complaint = metarun("test", f"run={the_row()['id']}", "data=glyphs", "data.split=other.yaml")
    assert code == 2
    assert "in 'train' of the training and test data (glyphs) and class 'LATIN" in complaint
    assert len(rows()) == 1


@pytest.mark.slow
def test_a_test_without_the_training_data_reports_that_overlap_is_unknown(metarun):
    Path("mine.yaml").write_text("train: [LATIN]\nval: [GEORGIAN]\ntest: [GREEK]\n")
    assert metarun("train", "algo=protonet", "data.split=mine.yaml", *SMALL)[0] == 0
    Path("mine.yaml").unlink()
    code, printed, _ = metarun("test", f"run={the_row()['id']}", "data=glyphs")
    assert code == 0
    assert "cannot check whether these examples were used in training: split '" in printed
    assert "mine.yaml' of glyphs is neither scripts nor an existing file" in printed


@pytest.mark.slow
def test_the_duplicate_drawings_of_omniglot_are_found(mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    for split in ("vinyals", "lake"):
        upright = Omniglot(split, dict.fromkeys(SPLITS, 1)).load()
        assert duplicates(upright) == Duplicates(within_a_class=1), "one pair in all of Omniglot"


# Tasks: no query in the support set, no label that reveals a class.


def planted(monkeypatch, change):
    """Change the (tasks, way, shot + query) rows of every stream."""
    draw = WithReplacement.rows
    monkeypatch.setattr(WithReplacement, "rows", lambda self, numbers: change(draw(self, numbers)))
    return make_stream(way=3, query=4)


def in_both(rows):
    rows[7, 2, 3] = rows[7, 2, 0]
    return rows


def in_stored_order(rows):
    return rows.sort(dim=1).values


def mixed(rows):
    rows[9, 0, 2], rows[9, 1, 2] = rows[9, 1, 2].clone(), rows[9, 0, 2].clone()
    return rows


def one_class_twice(rows):
    rows[0, 0], rows[0, 1] = torch.arange(5), torch.arange(5, 10)
    return rows


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (in_both, "task 7 contains an example twice, such as in its support and its query set: this is a bug"),
        (mixed, "task 9 has a label that stands for several classes"),
        (one_class_twice, "task 0 has two labels that stand for one class"),
        (in_stored_order, r"labels follow the stored order of classes \(correlation 1.00 over 200 tasks\)"),
    ],
)
def test_a_task_that_leaks_its_labels_is_refused(monkeypatch, change, sentence):
    check_tasks(make_stream(way=3, query=4))
    with pytest.raises(UserError, match=sentence):
        check_tasks(planted(monkeypatch, change))


def test_a_query_at_a_support_point_is_refused(monkeypatch):
    def stream():
        return task_source(Sinusoid()).stream("test", TaskShape(1, 3, 4), 0, torch.device("cpu"), torch.float32)

    check_tasks(stream())
    monkeypatch.setattr(Sinusoid, "inputs", lambda self, uniform: (4 * uniform).round())
    with pytest.raises(UserError, match="has a query at a point of its support set"):
        check_tasks(stream())


def test_a_run_on_leaking_tasks_writes_no_row(metarun, monkeypatch):
    planted(monkeypatch, in_stored_order)
    code, _, complaint = metarun("train", "algo=protonet", *SMALL)
    assert (code, "labels follow the stored order" in complaint) == (2, True)
    assert not list(Path("results/runs").glob("*"))


# Methods: a prediction must not depend on the order or the labels of queries.

BY_PLACE = """
import torch

from metarun.algorithms import ProtoNet


class ByPlace(ProtoNet):
    def predict(self, tasks, steps):
        places = torch.arange(tasks.query_x.shape[1]) * tasks.way // tasks.query_x.shape[1]
        return torch.nn.functional.one_hot(places, tasks.way).expand(1, len(tasks), -1, -1).to(tasks.query_x)
"""


class Peeking(ProtoNet):
    def predict(self, tasks, steps):
        return torch.nn.functional.one_hot(tasks.query_y, tasks.way).to(tasks.query_x)[None]


class Noisy(ProtoNet):
    def predict(self, tasks, steps):
        predictions = super().predict(tasks, steps)
        return predictions + torch.randn_like(predictions)


def test_a_method_that_uses_the_positions_of_queries_is_refused(metarun):
    Path("by_place.py").write_text(BY_PLACE)
    code, _, complaint = metarun("train", "algo=protonet", "algo._target_=by_place.ByPlace", *SMALL)
    assert (code, "the predictions of ByPlace depend on the order or the labels" in complaint) == (2, True)
    assert not list(Path("results/runs").glob("*"))


def test_a_method_that_uses_the_labels_of_queries_is_refused():
    with pytest.raises(UserError, match="the predictions of Peeking depend on the order or the labels"):
        check_predictions(Peeking(make_conv4()), make_stream(), 0)


def test_a_method_with_random_predictions_is_accepted():
    noisy = Noisy(make_conv4())
    before = torch.random.get_rng_state()
    check_predictions(noisy, make_stream(), 0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
def test_an_audit_that_contradicts_the_row_is_reported_and_flagged(metarun, monkeypatch):
    monkeypatch.setattr("metarun.runner.record.is_transductive", lambda *_: False)
    assert metarun("train", "algo=maml", *SMALL)[0] == 0
    wrong = the_row()
    assert wrong["transductive"] is False, "MAML's recipe takes batch statistics of the queries"
    code, printed, _ = metarun("test", f"run={wrong['id']}", "audit=true")
    assert code == 0
    assert "the audit disagrees with the check of a few queries: 225 of 225 predictions depend on the other" in printed
    audited = next(row for row in rows().values() if row["id"] != wrong["id"])
    assert audited["transductive"] is True
    _, printed, _ = metarun("compare", "--format", "json")

    flagged = {row["id"] for row in json.loads(printed) if "audit" in row["flags"]}
    assert flagged == {wrong["id"]}


# Metrics.


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize("wrong", [float("nan"), 1.5])
def test_an_impossible_accuracy_is_a_failure(metarun, monkeypatch, wrong):
    assert metarun("train", "algo=protonet", *SMALL)[0] == 0
    run = the_row()["id"]
    monkeypatch.setattr("metarun.evaluation.evaluate.correct", lambda _, targets: torch.full(targets.shape, wrong))
    code, _, complaint = metarun("test", f"run={run}", "test.seed=1")
    assert code == 1
    assert "the accuracy of 3 of 3 meta-test tasks is not between 0 and 1" in complaint


def test_a_row_with_a_nan_is_invalid(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(record(accuracy=float("nan"))))
    with pytest.raises(UserError, match=r"result.json cannot be read .NaN is not valid JSON.; delete it"):
        read_result(path)


def test_an_interval_over_few_tasks_is_flagged_everywhere(metarun):
    assert flags([record(test_tasks=29), record(test_tasks=30)]) == [["few_tasks"], []]
    _, printed, _ = metarun("train", "algo=protonet", *SMALL)
    assert "unreliable with fewer than 30 tasks" in " ".join(printed.replace("│", "").split())
    _, printed, _ = metarun("compare")
    assert "¶ tested on fewer than 30 tasks: the interval is unreliable." in printed
    _, printed, _ = metarun("compare", "--format", "csv")
    assert ",few_tasks chance," in printed


@pytest.mark.slow
def test_every_meta_test_is_counted_and_several_results_are_flagged(metarun):
    words = ["train", "algo=protonet", *SMALL]
    assert metarun(*words)[0] == 0
    first = the_row()
    assert (first["looks"], first["figures_seen"]) == (1, 1)
    metarun(*words, "force=true")
    again = the_row()
    assert (again["looks"], again["figures_seen"]) == (2, 1), "the same result: there is nothing to pick from"
    metarun("test", f"run={first['id']}", "task.shot=2")
    assert {row["figures_seen"] for row in rows().values()} == {1}, "another setting"
    _, printed, _ = metarun("test", f"run={first['id']}", "test.seed=1")
    assert "this run was meta-tested 4 times with 2 results in this setting; picking the best is biased" in printed
    log = RunDirectory(next(Path("results/runs").glob(f"*-{first['id']}"))).test_uses
    assert [json.loads(line)["row"] for line in log.read_text().splitlines()][:2] == [first["id"]] * 2
    _, printed, _ = metarun("compare", "--format", "json")
    flagged = {row["id"]: "looks" in row["flags"] for row in json.loads(printed)}
    assert sum(flagged.values()) == 2, "both of that setting"
    assert flagged[first["id"]]


def test_meta_tests_are_counted_despite_truncated_lines_and_write_errors(tmp_path, caplog):
    path = tmp_path / "looks.jsonl"
    row = record(stream_hash="a", data_hash="b")
    assert record_test_use(path, row) == {"looks": 1, "figures_seen": 1}
    path.write_text(path.read_text() + '{"row": "0000\n[]\n' + "[" * 100_000 + "\n")
    assert record_test_use(path, {**row, "accuracy": 0.91}) == {"looks": 2, "figures_seen": 2}
    assert record_test_use(tmp_path / "nowhere" / "looks.jsonl", row) == {"looks": 1, "figures_seen": 1}
    assert "cannot be written (No such file or directory); this meta-test is not counted" in caplog.text
