import json
import math

import pandas as pd
import pytest

from metarun.errors import UserError
from metarun.results.bitwise_diff import Difference, differences, numbers
from metarun.results.run_directory import RunDirectory
from tests.cli.test_compare import record


def made(path, accuracies=(0.5, 0.25), **changes) -> RunDirectory:
    path.mkdir(exist_ok=True)
    run = RunDirectory(path)
    run.result.write_text(json.dumps(record(**changes)))
    pd.DataFrame({"task": [0, 1], "accuracy": accuracies}).to_parquet(run.tasks)
    pd.DataFrame({"iteration": [3, 3], "loss": [1 / 3, 2.0], "accuracy": [None, 0.1], "seconds": [1, 2]}).to_csv(
        run.curve, index=False
    )
    return run


def test_timings_and_circumstances_may_differ(tmp_path):
    one = numbers(made(tmp_path / "one"))
    other = numbers(made(tmp_path / "other", adapt_ms=5.0, train_seconds=9.0, commit="abc", device="cuda:0", looks=2))
    assert differences(one, other) == []
    assert {"result.json: accuracy", "tasks.parquet: accuracy", "curve.csv: loss"} <= set(one)
    assert "curve.csv: seconds" not in one


def test_one_bit_is_a_difference_and_it_is_told_how_large_it_is(tmp_path):
    one = numbers(made(tmp_path / "one"))
    bit = math.nextafter(0.25, 1)
    other = numbers(made(tmp_path / "other", accuracies=(0.5, bit), transductive=False))
    assert differences(one, other) == [
        Difference("result.json: transductive", True, False),
        Difference("tasks.parquet: accuracy", 0.25, bit, 1, bit - 0.25),
    ]


def test_keys_and_rows_that_are_not_on_both_sides_are_differences(tmp_path):
    one, other = numbers(made(tmp_path / "one")), numbers(made(tmp_path / "other", new=1))
    other["curve.csv: loss"] = [2.0]
    assert differences(one, other) == [
        Difference("curve.csv: loss", "2 values", "1 values"),
        Difference("result.json: new", None, 1),
    ]


def test_a_run_that_was_made_before_there_was_a_key_is_no_different_for_being_without_it(tmp_path):
    one, other = numbers(made(tmp_path / "one")), numbers(made(tmp_path / "other", diverged=0))
    assert differences(one, other) == []
    assert differences(other, one) == [Difference("result.json: diverged", 0, None)]


def test_a_damaged_file_is_one_sentence(tmp_path):
    run = made(tmp_path / "one")
    run.tasks.write_bytes(b"not a table")
    with pytest.raises(UserError, match=r"tasks.parquet cannot be read .* make the run again with force=true"):
        numbers(run)
    run.result.unlink()
    with pytest.raises(UserError, match="is no finished run; finish it with `metarun train`"):
        numbers(run)
