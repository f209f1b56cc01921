import pytest

from metarun.results.record_schema import schema_error
from tests.cli.test_compare import record


def test_records_of_metarun_are_valid():
    assert schema_error(record()) is None
    regression = {key: value for key, value in record().items() if "accuracy" not in key}
    assert (
        schema_error({**regression, "mse": 0.3, "mse_ci95": None, "floor_mse": 2.0, "mse_by_step": [3.0, 0.3]}) is None
    )
    assert schema_error({"status": "failed", "reason": "the loss became NaN"}) is None


def test_unknown_keys_are_allowed():
    assert schema_error(record(more=[1, {"a": None}])) is None


@pytest.mark.parametrize("broken", [None, [], "done", {}, {"status": "running"}, {"status": ["done"]}])
def test_a_value_without_a_status_is_not_a_record(broken):
    assert schema_error(broken) == "`status` is neither done nor failed"


def test_a_key_that_is_missing_is_named():
    assert schema_error({key: value for key, value in record().items() if key != "test_way"}) == "`test_way` is missing"
    assert schema_error({"status": "failed"}) == "`reason` is missing"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("accuracy", value) for value in ("0.9", True, None, -0.1, 1.1, float("nan"), [0.9])),
        *(("accuracy_ci95", value) for value in ("0.1", -0.1, float("inf"))),
        *(("mse", value) for value in (-1, float("inf"), 1e101, "0")),
        *(("algo", value) for value in (5, None, "a\nb", "\x1b[2J", "\u202ex", "\ud800")),
        *(("test_way", value) for value in (0, -5, 5.0, True, 10**10, "5")),
        *(("steps", value) for value in (-1, None)),
        *(("order", value) for value in (1.5, "2")),
        *(("transductive", value) for value in (1, "no", None)),
        *(("train_seconds", value) for value in (-1, float("nan"), 10**400)),
        *(("seed", value) for value in (0.0, 2**64, None)),
        *(("stream_hash", value) for value in (1, ["a"])),
        *(("published", value) for value in ({}, "0.9", {"accuracy": 0.9, "source": "x", "of": []})),
        *(("accuracy_by_step", value) for value in ([], [2], 0.5)),
        *(("audit", value) for value in ({}, {"tasks": 3})),
    ],
)
def test_an_invalid_value_is_named(key, value):
    assert schema_error(record(**{key: value})) == f"`{key}` is invalid"
