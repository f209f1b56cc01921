import pytest

from metarun.reporting.shortfall import shortfall, shortfall_message
from metarun.reporting.summary import summary
from metarun.reporting.tables.flags import flags
from tests.cli.test_compare import record


def row(accuracy: float = 0.21, **changed) -> dict:
    """A row of classification with a floor of 40 % and chance of 20 %."""
    figures = {"accuracy": accuracy, "accuracy_ci95": 0.02, "floor_accuracy": 0.4, "chance": 0.2, "val_accuracy": 0.2}
    losses = {"train_loss_first": 1.609, "train_loss_last": 1.612}
    return {**record(), **figures, **losses, **changed}


def wave(mse: float, **changed) -> dict:
    made = {**row(), "mse": mse, "mse_ci95": 0.2, "floor_mse": 4.0, **changed}
    return {key: value for key, value in made.items() if not key.startswith(("accuracy", "chance"))}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (row(0.5), None),
        (row(0.39), None),  # 41 % at most
        (row(0.3), "floor"),
        (row(0.219), "chance"),
        (row(0.1), "chance"),
        (row(0.1, accuracy_ci95=None), None),  # a single task
        (row(0.1, iterations=0), None),  # not trained, such as algo=nearest_centroid
        (row(0.3, floor_accuracy=None), None),
        (wave(3.0), None),
        (wave(4.1), None),
        (wave(4.3), "floor"),
        (wave(9.0, iterations=0), None),
        (wave(3.0, floor_ridge_mse=2.0), "floor"),  # of the two floors, the better
        (wave(3.0, floor_ridge_mse=5.0), None),
        (wave(9.0, floor_mse=None), None),
        (wave(3.6e6, mse_ci95=7.3e6, mse_median=3.4), "floor"),  # a few tasks almost diverged
        (wave(3.0, mse_ci95=7.0), None),  # few tasks, but better than the floor
    ],
)
def test_a_row_falls_short_if_its_interval_is_below_the_floor_or_reaches_down_to_chance(found, expected):
    assert shortfall(found) == expected
    assert flags([found])[0] == ([expected] if expected else [])
    assert (shortfall_message(found) is None) == (expected is None)


def test_the_summary_says_that_the_machine_was_busy():
    def adaptation(**changes) -> str:
        cells = [cell for column in summary(row(**changes)).columns for cell in column.cells]
        return next(cell for cell in cells if " ms per task" in str(cell))

    assert adaptation() == adaptation(adapt_cpu_ms=9.5, load=1.0) == "12.0 ms per task on cpu"
    assert adaptation(adapt_cpu_ms=9.5, load=2.5).endswith(" (9.5 ms of CPU time; the machine was busy)")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (row(), "did not fall (1.61 → 1.61): try other learning rates (`train.outer_lr`, `algo.inner_lr`)"),
        (row(order=None), "did not fall (1.61 → 1.61): try other learning rates (`train.outer_lr`) and more steps."),
        (row(order=None, training_diverged_at=9), "diverged: try lower learning rates (`train.outer_lr`), or"),
        (row(train_loss_first=None), "train longer (`train.iterations`)"),
        (row(train_loss_first=1.612), "train longer (`train.iterations`)"),
        (row(train_loss_last=0.1), "the training loss fell (1.61 → 0.1) but meta-val did not improve: try more"),
        (row(train_loss_last=0.1, best_iteration=9), "and meta-val was best at the last step: train longer"),
        (row(train_loss_last=0.1, val_accuracy=0.8), "and meta-val is better, so check how meta-test differs from it"),
        (wave(9.0, train_loss_last=0.1, val_mse=4.0), "and meta-val is better, so check how meta-test differs from"),
        (
            row(train_loss_last=0.1, test_data="digits"),
            "; check how digits differs from glyphs: polarity (`data",
        ),
        (row(train_loss_first=1.612, test_data="digits"), "; check how digits differs from glyphs: polarity"),
        (row(data_hash="a", trained_data_hash="b"), "check how these examples of glyphs differ from those of training"),
        (row(steps_asked=0), "this method must adapt, but `test.steps` is 0: raise it"),
        (row(floor_accuracy=0.196), "raw inputs are at chance too, so check the labels and the examples first"),
        (
            wave(3.6e6, mse_ci95=7e6, mse_median=3.4),
            "because of a few tasks (median 3.4000); lower `test.steps`",
        ),
        (row(0.3), "below the floor: the nearest centroid of raw inputs, which needs no training, is better; the"),
        (wave(9.0), "below the floor: the mean of the support targets, which needs no training, is better; the"),
    ],
)
def test_the_message_says_what_to_check(found, expected):
    assert expected in shortfall_message(found)
    assert "warning" in {cell for column in summary(found).columns for cell in column.cells}
