import json
import math

import pandas as pd
import pytest

from metarun.errors import UserError
from metarun.results.bitwise_diff import Difference, compare_numbers, read_numbers
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
    one = read_numbers(made(tmp_path / "one"))
    other = read_numbers(
        made(tmp_path / "other", adapt_ms=5.0, train_seconds=9.0, commit="abc", device="cuda:0", looks=2)
    )
    assert compare_numbers(one, other) == []
    assert {"result.json: accuracy", "tasks.parquet: accuracy", "curve.csv: loss"} <= set(one)
    assert "curve.csv: seconds" not in one


def test_one_bit_is_a_difference_and_its_size_is_returned(tmp_path):
    one = read_numbers(made(tmp_path / "one"))
    bit = math.nextafter(0.25, 1)
    other = read_numbers(made(tmp_path / "other", accuracies=(0.5, bit), transductive=False))
    assert compare_numbers(one, other) == [
        Difference("result.json: transductive", True, False),
        Difference("tasks.parquet: accuracy", 0.25, bit, 1, bit - 0.25),
    ]


def test_missing_keys_and_rows_are_differences(tmp_path):
    one, other = read_numbers(made(tmp_path / "one")), read_numbers(made(tmp_path / "other", new=1))
    other["curve.csv: loss"] = [2.0]
    assert compare_numbers(one, other) == [
        Difference("curve.csv: loss", "2 values", "1 values"),
        Difference("result.json: new", None, 1),
    ]


def test_a_key_added_in_a_later_version_is_not_a_difference(tmp_path):
    one, other = read_numbers(made(tmp_path / "one")), read_numbers(made(tmp_path / "other", diverged=0))
    assert compare_numbers(one, other) == []
    assert compare_numbers(other, one) == [Difference("result.json: diverged", 0, None)]


def test_a_damaged_file_is_one_sentence(tmp_path):
    run = made(tmp_path / "one")
    run.tasks.write_bytes(b"not a table")
    with pytest.raises(UserError, match=r"tasks.parquet cannot be read .* run it again with force=true"):
        read_numbers(run)
    run.result.unlink()
    with pytest.raises(UserError, match="is not a finished run; finish it with `metarun train`"):
        read_numbers(run)
