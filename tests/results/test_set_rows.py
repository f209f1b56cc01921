"""The rows of each data set of a run."""

import numpy as np
import pandas as pd
import pytest

from metarun.errors import UserError
from metarun.results.record_schema import schema_error
from metarun.results.records import figures_by_step
from metarun.results.set_rows import is_set_row, run_id_of, set_count, with_set_rows
from tests.cli.test_compare import record

OF_A = {"accuracy": 0.8, "accuracy_ci95": 0.1, "floor_accuracy": 0.3, "test_tasks": 2, "stream_hash": "aa"}
SETS = {"a": {**OF_A, "data_hash": "1"}, "b": {**OF_A, "accuracy": 0.6, "data_hash": "2"}}


def test_a_row_for_the_mean_and_one_for_each_data_set():
    mean = record(id="12ab", test_tasks=4, sets=SETS)
    first, a, b = with_set_rows([mean])
    assert first is mean
    assert (a["id"], a["test_data"], a["accuracy"], a["test_tasks"]) == ("12ab/a", "a", 0.8, 2)
    assert (b["id"], b["accuracy"], b["data_hash"]) == ("12ab/b", 0.6, "2")
    assert [*map(set_count, (first, a))] == [2, 1]
    assert [*map(is_set_row, (first, a))] == [False, True]
    assert {*map(run_id_of, (first, a, b))} == {"12ab"}
    single = record()
    assert with_set_rows([single]) == [single]


def test_the_tasks_of_a_data_set_are_found_among_those_of_all(tmp_path):
    columns = {"task": np.tile(range(4), 2), "step": np.repeat([0, 1], 4), "accuracy": np.arange(8) / 10}
    pd.DataFrame(columns).to_parquet(tmp_path / "tasks.parquet")
    mean = record(test_tasks=4, sets=SETS, path=str(tmp_path))
    _, a, b = with_set_rows([mean])
    assert figures_by_step(mean).shape == (2, 4)
    assert figures_by_step(a).tolist() == [[0, 0.2], [0.4, 0.6]]
    assert figures_by_step(b).tolist() == [[0.1, 0.3], [0.5, 0.7]]
    pd.DataFrame(columns).iloc[:6].to_parquet(tmp_path / "tasks.parquet")
    with pytest.raises(UserError, match="6 rows do not match the 4 tasks"):
        figures_by_step(a)


@pytest.mark.parametrize("sets", [{}, [], {"a": 1}, {"a": {**SETS["a"], "accuracy": 2}}, {"a": {"accuracy": 0.5}}])
def test_a_record_with_invalid_figures_of_a_data_set_is_not_read(sets):
    valid = {**record(), "status": "done"}
    assert schema_error({**valid, "sets": SETS}) is None
    assert schema_error({**valid, "sets": sets}) == "`sets` is invalid"
