import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metarun.errors import UserError
from metarun.results.find_run import find_run
from metarun.results.records import KEPT, _rows_below, figures_by_step, read_result
from metarun.results.run_directory import run_path
from tests.cli.test_compare import record

BY_STEP = np.array([[0.2, 0.25, 0.3], [0.5, 0.75, 1.0]])  # (steps + 1, tasks)
COLUMNS = {"task": [0, 1, 2, 0, 1, 2], "step": [0, 0, 0, 1, 1, 1], "accuracy": BY_STEP.ravel()}


def run_with(folder, columns):
    pd.DataFrame(columns).to_parquet(folder / "tasks.parquet")
    return record(path=str(folder), test_tasks=3, steps=1)


def test_values_are_sorted_by_step_and_task(tmp_path):
    shuffled = {name: np.asarray(values)[[4, 0, 5, 2, 3, 1]] for name, values in COLUMNS.items()}
    assert figures_by_step(run_with(tmp_path, shuffled)).tolist() == BY_STEP.tolist()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"task": [0, 1, 1, 0, 1, 2]}, "a task has no value or two values for a step"),
        ({"task": [0, 1, 10**12, 0, 1, 2]}, "a task has no value or two values for a step"),
        ({"step": [0, 0, 0, 5, 5, 5]}, "a task has no value or two values for a step"),
        ({"accuracy": [0.2, 0.3, 0.4, 0.5, 0.6, np.nan]}, "column accuracy has an invalid value"),
        ({"accuracy": [0.2, 0.3, 0.4, 0.5, 0.6, 1.5]}, "column accuracy has an invalid value"),
        ({"accuracy": ["a"] * 6}, "could not convert string to float"),
        ({"accuracy": [[1]] * 6}, "setting an array element with a sequence"),
    ],
)
def test_a_table_that_does_not_match_the_record_is_an_error(tmp_path, changed, reason):
    with pytest.raises(UserError, match=rf"tasks\.parquet cannot be read \({reason}.*\); run it again"):
        figures_by_step(run_with(tmp_path, {**COLUMNS, **changed}))


def test_kept_rows_are_read_only_where_their_folder_is_named(tmp_path):
    for folder in ("runs", KEPT):
        (tmp_path / folder / "run").mkdir(parents=True)
        (tmp_path / folder / "run" / "result.json").write_text(folder)
    assert [Path(path).parts[-3] for path in _rows_below(tmp_path)] == ["runs"]
    assert [Path(path).parts[-3] for path in _rows_below(tmp_path / KEPT)] == [KEPT]


def test_a_table_with_another_number_of_tasks_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"\(4 rows do not match the 3 tasks of result.json\)"):
        figures_by_step(run_with(tmp_path, {name: values[:4] for name, values in COLUMNS.items()}))


def test_a_table_with_too_many_rows_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("metarun.results.records._MAX_ROWS", 5)
    with pytest.raises(UserError, match=r"\(6 rows are too many\)"):
        figures_by_step(run_with(tmp_path, COLUMNS))


@pytest.mark.timeout(20)
def test_a_pipe_is_neither_a_table_nor_a_record(tmp_path):
    for name in ("tasks.parquet", "result.json"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=r"tasks\.parquet cannot be read \(it does not exist\)"):
        figures_by_step(record(path=str(tmp_path)))
    assert read_result(tmp_path / "result.json") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 100_000, r"cannot be read \(it is nested too deeply\)"),
        (b'{"status": "done", "accuracy": NaN}', r"cannot be read \(NaN is not valid JSON\)"),
        (b"\xff\xfe", r"cannot be read \('utf-8' codec can't decode"),
        (b'{"seed": ' + b"9" * 5_000 + b"}", r"cannot be read \(Exceeds the limit \(4300 digits\)"),
        (b"[]", r"is not a valid metarun result \(`status` is neither done nor failed\)"),
        (b'{"status": "done"}', r"is not a valid metarun result \(`id` is missing\)"),
    ],
    ids=["deep", "NaN", "bytes", "digits", "list", "empty"],
)
def test_an_invalid_record_is_an_error(tmp_path, content, reason):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"result\.json {reason}.*delete it and run the same command again"):
        read_result(tmp_path / "result.json")


def test_a_huge_record_is_not_read(tmp_path):
    with (tmp_path / "result.json").open("wb") as file:
        file.truncate(1 << 27)
    with pytest.raises(UserError, match=r"result\.json cannot be read \(it is too large\)"):
        read_result(tmp_path / "result.json")


@pytest.mark.parametrize("run", ["x" * 5_000, "\udcff", "~nobody/x", "[", "**"])
def test_an_invalid_name_matches_no_run(tmp_path, run):
    with pytest.raises(UserError, match="is neither a run's directory nor the start of an id in"):
        find_run(tmp_path, run)


def test_the_newest_runs_are_offered_and_a_broken_link_does_no_harm(tmp_path):
    runs = tmp_path / "runs"
    for age, name in enumerate("fbdace"):  # f is the newest
        path = runs / f"maml-{name}"
        path.mkdir(parents=True)
        os.utime(path, (1e9 - age, 1e9 - age))
    with pytest.raises(UserError, match="or a run such as maml-c, maml-a, maml-d, maml-b, maml-f"):
        find_run(tmp_path, "zzz")
    (runs / "maml-gone").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"or a run such as .*, maml-gone"):
        find_run(tmp_path, "zzz")


def test_a_name_cannot_lead_to_another_folder(tmp_path):
    path = run_path(tmp_path, "../../maml", "birds/small\x1b", 5, 1, "0123abcd")
    assert path == tmp_path / "runs" / "..-..-maml-birds-small\\x1b-5w1s-0123abcd"
