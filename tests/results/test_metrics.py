import math

import pytest

from metarun.results.metrics import ACCURACY, METRICS, MSE, best_floor, figure, floor_text, metric_of
from metarun.results.settings import long_setting


def test_the_metric_is_found_from_the_record():
    assert metric_of({"accuracy": 0.5, "loss_by_step": [1.0]}) is ACCURACY
    assert metric_of({"mse": 0.5, "mse_by_step": [0.5]}) is MSE


def test_the_keys_of_result_json_are_pinned():
    keys = [(m.key, m.ci95, m.by_step, m.median, m.floor, m.val, m.column) for m in METRICS]
    assert keys == [
        (
            "accuracy",
            "accuracy_ci95",
            "accuracy_by_step",
            "accuracy_median",
            "floor_accuracy",
            "val_accuracy",
            "accuracy",
        ),
        ("mse", "mse_ci95", "mse_by_step", "mse_median", "floor_mse", "val_mse", "loss"),
        ("return", "return_ci95", "return_by_step", "return_median", "floor_return", "val_return", "return"),
    ]


def test_a_score_is_higher_where_a_run_is_better():
    assert ACCURACY.score(0.9) > ACCURACY.score(0.8)
    assert MSE.score(0.8) > MSE.score(0.9)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"accuracy": 0.98123, "accuracy_ci95": 0.0021}, "98.12 ± 0.21"),
        ({"accuracy": 0.5, "accuracy_ci95": None}, "50.00"),
        ({"mse": 0.35124, "mse_ci95": 0.012}, "mse 0.3512 ± 0.0120"),
        ({"mse": 3e7, "mse_ci95": 999_999.0}, "mse 3e+07 ± 999999.0000"),
    ],
)
def test_a_result_is_formatted_in_percent_or_as_a_squared_error(record, expected):
    assert figure(record) == expected


def test_values_have_the_requested_number_of_digits():
    assert [ACCURACY.fixed(1 / 3), ACCURACY.text(1 / 3, 1), MSE.fixed(1 / 3), MSE.text(1 / 3, 3)] == [
        *("33.33", "33.3", "0.3333", "0.333")
    ]
    assert MSE.fixed(None) == MSE.text(None) == "–"
    assert (MSE.fixed(2e6), MSE.text(2e6), MSE.text(math.nan)) == ("2000000.0000", "2e+06", "nan")


def test_a_difference_of_accuracies_is_in_percentage_points():
    assert ACCURACY.difference_text(0.0123, 0.004) == "+1.23 ± 0.40"
    assert MSE.difference_text(-0.0123, 0.004) == "-0.0123 ± 0.0040"


def test_a_floor_is_called_by_what_it_compares():
    assert floor_text({"accuracy": 0.5}) == "the nearest centroid of raw inputs"
    assert floor_text({"accuracy": 0.5, "floor_inputs": "TF-IDF"}) == "the nearest centroid of TF-IDF"
    assert floor_text({"mse": 0.5}) == "the mean of the support targets"


def test_the_floor_of_regression_is_the_better_of_two():
    assert best_floor({"mse": 0.5, "floor_mse": 0.4, "floor_ridge_mse": 0.3}) == (
        0.3,
        "ridge regression of each task's support set",
    )
    assert best_floor({"mse": 0.5, "floor_mse": 0.4}) == (0.4, "the mean of the support targets")


def test_one_support_point_is_no_plural():
    assert [long_setting({"mse": 1, "test_shot": shot}) for shot in (1, 10, 11)] == [
        *("1 support point", "10 support points", "11 support points")
    ]
