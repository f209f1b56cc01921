"""Rows grouped by an entity: columns, scales, order, what is skipped, and a sentence for everything that is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metarun.data import SPLITS, EntityDataset, Parkinsons, RegressionTable
from metarun.data.contents import describe
from metarun.errors import UserError

pytestmark = pytest.mark.usefixtures("root")
MACHINES = [f"m{e}" for e in range(10)]
SPLIT = {"train": MACHINES[:6], "val": MACHINES[6:8], "test": MACHINES[8:]}


def frame(rows: int = 5) -> pd.DataFrame:
    """Rows of ten machines: a day in falling order, an input of numbers, one of two kinds, and two targets."""
    rng = np.random.default_rng(0)
    split_of = {name: split for split, names in SPLIT.items() for name in names}
    machine = np.repeat(MACHINES, rows)
    return pd.DataFrame(
        {
            "machine": machine,
            "day": np.tile(np.arange(rows)[::-1], 10),
            "load": rng.normal(5, 2, 10 * rows).round(3),
            "mode": rng.choice(["fast", "slow"], 10 * rows),
            "heat": rng.normal(300, 20, 10 * rows).round(3),
            "noise": rng.normal(60, 5, 10 * rows).round(3),
            "part": [split_of[name] for name in machine],
        }
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to_csv(table: pd.DataFrame, name: str = "table.csv") -> Path:
        table.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return to_csv


def load(path: Path, **settings: object) -> EntityDataset:
    usual = {"entity": "machine", "targets": ["heat", "noise"], "drop": ["part"]}
    return RegressionTable(**{"root": str(path), **usual, **settings}).load()


def of_entity(data: EntityDataset, name: str) -> np.ndarray:
    splits = data.rows.splits.values()
    return next(examples.of_class(name) for examples in splits if name in examples.class_names)


def entities(data: EntityDataset) -> dict[str, list[str]]:
    return {split: list(data.rows.splits[split].class_names) for split in SPLITS}


def test_inputs_and_targets_are_standardised_by_meta_train_alone(write):
    table = frame()
    train = table[table["part"] == "train"]
    data = load(write(table), split_column="part", drop=[])
    assert entities(data) == SPLIT
    assert (data.inputs["x"].shape, data.outputs) == ((4,), 2)
    for name in MACHINES:
        rows = table[table["machine"] == name]
        scaled = {c: (rows[c] - train[c].mean()) / train[c].std(ddof=0) for c in ("day", "load", "heat", "noise")}
        x = np.stack([scaled["day"], scaled["load"], rows["mode"] == "fast", rows["mode"] == "slow"], 1)
        assert of_entity(data, name)["x"] == pytest.approx(x.astype(np.float32), abs=1e-6)
        y = np.stack([scaled["heat"], scaled["noise"]], 1)
        assert of_entity(data, name)["y"] == pytest.approx(y.astype(np.float32), abs=1e-6)


def test_targets_can_stay_in_their_own_units(write):
    table = frame()
    data = load(write(table), standardise_targets=False)
    assert of_entity(data, "m3")["y"] == pytest.approx(table[table["machine"] == "m3"][["heat", "noise"]].to_numpy())


def test_a_constant_target_is_zero(write):
    table = frame(20).assign(heat=0.1)
    table.loc[table["machine"] == "m9", "heat"] = 0.6
    data = load(write(table), targets=["heat"], split_column="part", drop=[])
    assert not of_entity(data, "m0")["y"].any()
    assert of_entity(data, "m9")["y"] == pytest.approx(0.5)


def test_rows_are_sorted_by_time_and_else_stay_as_they_are(write):
    path = write(frame())
    plain = of_entity(load(path, columns=["load"]), "m1")["x"]
    in_order = load(path, columns=["load"], order="day")
    assert in_order.in_order
    assert of_entity(in_order, "m1")["x"].tolist() == plain[::-1].tolist()


def test_dates_sort_and_become_days(write):
    table = frame()
    table["day"] = pd.Timestamp("2024-02-27") + pd.to_timedelta(table["day"], unit="D")
    dated = load(write(table), order="day", columns=["day"], standardise=False)
    assert np.diff(of_entity(dated, "m0")["x"][:, 0]).tolist() == [1, 1, 1, 1]


def test_the_split_can_be_a_file_or_a_seed(write, tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({**SPLIT, "train": MACHINES[:5]}))
    by_file = load(write(frame()), split=str(tmp_path / "split.json"))
    assert entities(by_file)["train"] == MACHINES[:5]
    assert [len(names) for names in entities(load(write(frame()), split_seed=1)).values()] == [6, 2, 2]


def test_numbered_entities_are_called_as_they_are_written(write):
    numbers = [*map(str, range(6)), "06", "6", "1234567890123456788", "1234567890123456789"]
    table = frame().assign(machine=np.repeat(numbers, 5))
    table.loc[0, "machine"] = None
    found = [name for names in entities(load(write(table))).values() for name in names]
    assert sorted(found) == sorted(numbers)


def test_what_is_skipped_is_counted(write):
    table = frame()
    table.loc[[3, 4], "heat"] = np.nan
    table.loc[6, "machine"] = None
    table.loc[8, "load"] = np.nan
    data = load(write(table), min_rows=4)
    assert data.skipped.unlisted == ("1 entity of fewer than 4 rows (data.min_rows)",)
    assert data.skipped.warnings == (
        "1 row without an entity in column 'machine' skipped, the first in line 8",
        "2 rows without a target in column 'heat' skipped, the first in line 5",
        "1 missing value was replaced by the mean of meta-train, or left without a category",
    )
    assert describe(data) == (
        "train 5 entities of 4 to 5 rows, val 2 of 5, test 2 of 5; not used: 1 entity of fewer than 4 rows "
        "(data.min_rows); 4 inputs, 2 targets"
    )


def test_equal_rows_in_two_splits_are_counted(write):
    table = frame()
    table.loc[49, ["day", "load", "mode", "heat", "noise"]] = table.loc[0, ["day", "load", "mode", "heat", "noise"]]
    data = load(write(table), split_column="part", drop=[])
    assert data.skipped.warnings == ("1 row in more than one split, by inputs and targets",)


def test_disk_and_cache_hold_the_same_until_the_file_changes(write):
    path = write(frame())
    memory, disk = load(path), load(path, storage="disk")
    assert disk.rows.splits["train"].on_disk
    assert memory.hash == disk.hash
    assert memory.hash != load(path, order="day").hash
    write(frame().assign(load=1.0))
    assert load(path).hash != memory.hash


def test_check_names_entities_and_the_state_of_the_cache(write):
    source = RegressionTable(str(write(frame())), "machine", ["heat"], drop=["part", "noise"])
    told = "train 6 entities of 5 rows, val 2 of 5, test 2 of 5; 4 inputs, 1 target"
    assert source.check() == f"{told}; not cached yet"
    source.load()
    assert source.check() == f"{told}; the cache matches"


@pytest.mark.parametrize(
    ("change", "settings", "sentence"),
    [
        ({}, {"root": None}, r"data=regression_table needs a table; set `data.root`"),
        ({}, {"entity": None}, r"needs the column of entities; set `data.entity` to it, such as patient or user"),
        ({}, {"targets": []}, r"needs columns to predict; set `data.targets` to a list of them"),
        ({}, {"entity": "machin"}, r"has no column 'machin' \(data.entity\); .* Did you mean 'machine'"),
        ({}, {"targets": ["heat", "nose"]}, r"has no column 'nose' \(data.targets\)"),
        ({}, {"order": "days"}, r"has no column 'days' \(data.order\)"),
        ({}, {"order": "heat"}, r"column 'heat' is both data.order and among data.targets; name another"),
        ({}, {"columns": ["load", "heat"]}, r"column 'heat' is among data.columns and data.targets"),
        ({}, {"drop": ["day", "load", "mode", "part"]}, r"has no column to predict the targets from; name some by"),
        ({}, {"min_rows": 9}, r"has 0 entities but meta-train, meta-val and meta-test need 2 each; add some"),
        ({"heat": "hot"}, {}, r"line 3 of .*table.csv has 'hot' in column 'heat' but a target is a number; correct it"),
        ({"heat": np.inf}, {}, r"line 3 of .*table.csv has an infinite number in column 'heat'; correct it"),
        ({"load": -np.inf}, {}, r"line 3 of .*table.csv has an infinite number in column 'load'; correct it"),
        ({"load": np.nan}, {"missing": "error"}, r"line 3 of .* has no value in column 'load'; fill it, or set"),
        ({"day": "Monday"}, {"order": "day"}, r"line 3 of .* has 'Monday' in column 'day' but a time is a number or a"),
        (
            {"part": "test"},
            {"split_column": "part", "drop": []},
            r"entity 'm0' of .* has 'train' in column 'part' in line 2 but 'test' in line 3; give each entity to one",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(write, change, settings, sentence):
    table = frame().astype(dict.fromkeys(change, object))
    for column, value in change.items():
        table.loc[1, column] = value
    with pytest.raises(UserError, match=sentence):
        load(write(table), **settings)


def test_a_copy_of_parkinsons_that_is_not_whole_is_one_sentence(root):
    columns = ["subject#", "age", "sex", "test_time", "motor_UPDRS", "total_UPDRS", "HNR"]
    (root / "parkinsons").mkdir(parents=True)
    pd.DataFrame(np.ones((3, 7)), columns=columns).to_csv(root / "parkinsons" / "parkinsons_updrs.data", index=False)
    with pytest.raises(UserError, match=r"has 3 recordings of 1 patients but 5,875 of 42 are expected"):
        Parkinsons().load()


def test_where_to_put_parkinsons_if_it_is_not_here():
    assert Parkinsons().where() is None
    with pytest.raises(UserError, match=r"parkinsons was not found; put parkinsons_updrs.data of UCI's data set 189"):
        Parkinsons().load()


@pytest.mark.slow
def test_the_real_patients(mirror, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    data = Parkinsons(order="test_time").load()
    assert describe(data).startswith("train 27 entities of 101 to 168 rows, val 7 of 107 to 165, test 8 of 112 to 150")
    assert (data.inputs["x"].shape, data.outputs) == ((19,), 2)
    assert Parkinsons(columns=["test_time"]).load().inputs["x"].shape == (1,)
