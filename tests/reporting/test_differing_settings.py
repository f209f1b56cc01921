"""Which settings a table shows: those that a command set or that differ within a method, not those of recipes."""

from pathlib import Path

import pytest
import yaml

from metarun.reporting.tables.differing_settings import differing_settings
from tests.cli.test_compare import record

SAME = ("algo", "test_way", "test_shot")


@pytest.fixture
def run(tmp_path):
    def write(algo, overrides=(), **train) -> dict:
        path = Path(tmp_path) / str(len(list(tmp_path.iterdir())))
        path.mkdir()
        backbone = {"filters": train.pop("filters", 64)}
        (path / "config.yaml").write_text(yaml.safe_dump({"train": train, "backbone": backbone}))
        return record(algo=algo, path=str(path), overrides=list(overrides))

    return write


def test_a_budget_and_a_network_that_commands_set_are_shown_and_flagged(run):
    runs = [
        run("maml", ["backbone.filters", "train.iterations"], filters=64, iterations=60),
        run("maml", ["backbone.filters", "train.iterations"], filters=8, iterations=20),
    ]
    texts, shared, unequal = differing_settings(runs, SAME)
    assert texts == ["backbone.filters=64, train.iterations=60", "backbone.filters=8, train.iterations=20"]
    assert (shared, unequal) == ([], [True, True])


def test_where_classes_come_from_is_shown_unlike_the_task(run):
    runs = [run("maml"), run("maml")]
    for each, labels in zip(runs, ("classes", "none"), strict=True):
        config = {"task": {"labels": labels, "way": len(labels)}}
        (Path(each["path"]) / "config.yaml").write_text(yaml.safe_dump(config))
    assert differing_settings(runs, SAME)[0] == ["task.labels=classes", "task.labels=none"]


def test_what_recipes_set_differently_for_two_methods_is_not_shown(run):
    runs = [run("maml", outer_lr=0.001, iterations=400), run("protonet", outer_lr=0.01, iterations=1000)]
    assert differing_settings(runs, SAME) == (["", ""], [], [False, False])


def test_a_setting_that_one_command_changed_is_shown_for_every_method(run):
    runs = [run("maml", ["train.iterations"], iterations=60), run("protonet", iterations=1000)]
    texts, _, unequal = differing_settings(runs, SAME)
    assert (texts, unequal) == (["train.iterations=60", "train.iterations=1000"], [True, True])


def test_settings_that_commands_set_alike_are_shared(run):
    runs = [run(algo, ["train.iterations", "train.outer_lr"], iterations=9, outer_lr=0.1) for algo in ("maml", "anil")]
    assert differing_settings(runs, SAME) == (["", ""], ["train.iterations=9", "train.outer_lr=0.1"], [False, False])


def test_rows_of_older_versions_show_what_differs_within_a_method(run):
    runs = [run("maml", outer_lr=0.1), run("maml", outer_lr=0.2), run("anil", outer_lr=0.3)]
    for each in runs:
        del each["overrides"]
    texts, _, unequal = differing_settings(runs, SAME)
    assert (texts, unequal) == (["train.outer_lr=0.1", "train.outer_lr=0.2", "train.outer_lr=0.3"], [False] * 3)


def test_runs_of_another_task_size_are_not_compared_by_cost(run):
    runs = [run("maml", ["train.iterations"], iterations=n) for n in (10, 20)]
    runs[1] |= {"test_way": 20}
    assert differing_settings(runs, SAME)[2] == [False, False]


def test_a_command_for_another_data_set_does_not_flag_these_runs(run):
    runs = [
        run("maml", iterations=400),
        run("protonet", iterations=300),
        run("maml", ["train.iterations"], iterations=9),
    ]
    runs[2] |= {"test_data": "omniglot"}
    texts, _, unequal = differing_settings(runs, SAME)
    assert texts == ["train.iterations=400", "train.iterations=300", "train.iterations=9"]
    assert unequal == [False, False, False]
