"""Rows of a table as examples: columns, splits, values, the cache, and a sentence for everything that is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metarun.data import SPLITS, ClassDataset, Table
from metarun.data.class_splits import split_by_seed
from metarun.errors import UserError

pytestmark = pytest.mark.usefixtures("root")
CLASSES = [f"class {c}" for c in range(10)]
SPLIT = {"train": CLASSES[:6], "val": CLASSES[6:8], "test": CLASSES[8:]}


def frame(rows: int = 4) -> pd.DataFrame:
    """Rows of ten classes: two columns of numbers, one of two categories, and the split of the class."""
    rng = np.random.default_rng(0)
    split_of = {name: split for split, names in SPLIT.items() for name in names}
    return pd.DataFrame(
        {
            "kind": np.repeat(CLASSES, rows),
            "weight": rng.normal(70, 10, 10 * rows).round(3),
            "height": rng.normal(170, 5, 10 * rows).round(3),
            "colour": rng.choice(["red", "blue"], 10 * rows),
            "part": [split_of[name] for name in np.repeat(CLASSES, rows)],
        }
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to_csv(table: pd.DataFrame | str, name: str = "table.csv") -> Path:
        path = tmp_path / name
        if isinstance(table, str):
            path.write_text(table)
        elif path.suffix == ".parquet":
            table.to_parquet(path)
        else:
            table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
        return path

    return to_csv


def load(path: Path, **settings: object) -> ClassDataset:
    return Table(**{"root": str(path), "label": "kind", "drop": ["part"], **settings}).load()


def by_class(data: ClassDataset, name: str) -> np.ndarray:
    return next(data.splits[split].of_class(name) for split in SPLITS if name in data.splits[split].class_names)


def lists(data: ClassDataset) -> dict[str, list[str]]:
    return {split: list(data.splits[split].class_names) for split in SPLITS}


def test_columns_are_standardised_by_meta_train_alone(write, tmp_path):
    (tmp_path / "split.json").write_text(json.dumps(SPLIT))
    table = frame()
    train = table[table["kind"].isin(SPLIT["train"])]
    data = load(write(table), split=str(tmp_path / "split.json"))
    assert lists(data) == SPLIT
    for name in CLASSES:
        rows = table[table["kind"] == name]
        numbers = [(rows[c] - train[c].mean()) / train[c].std(ddof=0) for c in ("weight", "height")]
        one_hot = [rows["colour"] == colour for colour in ("blue", "red")]
        expected = np.stack([*numbers, *one_hot], 1).astype(np.float32)
        assert by_class(data, name) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table.tsv", "table.txt", "table.parquet"])
def test_formats_hold_the_same(write, name):
    data, csv = load(write(frame(), name)), load(write(frame(), "other.csv"))
    assert data.hash == csv.hash


def test_a_csv_without_a_header_calls_its_columns_by_number(write):
    named = frame()
    path = write(named.to_csv(index=False, header=False), "bare.csv")
    bare = load(path, header=False, label="0", columns=["1", "2"], drop=[])
    data = load(write(named), columns=["weight", "height"])
    assert [*by_class(bare, "class 3").flat] == [*by_class(data, "class 3").flat]


def test_not_standardised_numbers_are_as_written(write):
    data = load(write(frame()), standardise=False, columns=["weight"])
    assert by_class(data, "class 2")[:, 0] == pytest.approx(frame()["weight"][8:12])


def test_a_split_by_column(write):
    assert lists(load(write(frame()), split_column="part", drop=[])) == SPLIT


def test_a_split_by_seed_depends_on_names_alone(write):
    table = frame()
    found = lists(load(write(table), split_seed=3))
    assert found == split_by_seed("table", CLASSES, 3)
    assert [len(found[split]) for split in SPLITS] == [6, 2, 2]
    assert lists(load(write(table.iloc[::-1], "turned.csv"), split_seed=3)) == found
    assert lists(load(write(table, "again.csv"), split_seed=4)) != found


def test_a_class_that_joins_moves_few_others():
    many = [f"{c}" for c in range(100)]
    before, after = split_by_seed("", many, 0), split_by_seed("", [*many, "new"], 0)
    moved = [name for split in SPLITS for name in before[split] if name not in after[split]]
    assert len(moved) <= 2


def test_missing_numbers_become_the_mean_and_are_counted(write):
    table = frame()
    table.loc[5, "weight"] = np.nan
    table.loc[[0, 1], "colour"] = None
    data = load(write(table))
    assert by_class(data, "class 1")[1, 0] == 0
    assert by_class(data, "class 0")[0, 2:].tolist() == [0, 0]
    assert data.skipped.warnings == (
        "3 missing values were replaced by the mean of meta-train, or left without a category",
    )


def test_a_category_that_meta_train_does_not_have_is_none(write):
    table = frame()
    table.loc[table["part"] == "test", "colour"] = "green"
    data = load(write(table), split_column="part", drop=[])
    assert data.splits["train"].shape == (4,)
    assert not by_class(data, "class 9")[:, 2:].any()


@pytest.mark.parametrize("value", [5.0, 0.1])  # the deviation of many 0.1 is computed as 2.8e-17
def test_a_constant_column_is_zero_and_a_new_value_differs_by_its_difference(write, value):
    table = frame(20).assign(weight=value)
    table.loc[table["kind"] == "class 9", "weight"] = value + 0.5
    data = load(write(table), columns=["weight"], split_column="part", drop=[])
    assert not by_class(data, "class 0").any()
    assert by_class(data, "class 9") == pytest.approx(0.5)


def test_rows_without_a_class_are_skipped_and_counted(write):
    table = frame()
    table.loc[[3, 7], "kind"] = None
    data = load(write(table))
    assert len(by_class(data, "class 0")) == 3
    assert data.skipped.warnings == ("2 rows without a class in column 'kind' skipped, the first in line 5",)


def test_classes_that_are_whole_numbers_stay_whole_beside_a_gap(write):
    table = frame()
    table["kind"] = table["kind"].str[-1].astype(float)
    table.loc[0, "kind"] = None
    data = load(write(table, "table.parquet"))
    assert sorted(name for names in lists(data).values() for name in names) == [str(c) for c in range(10)]


@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.csv.gz", "table.xlsx"])
@pytest.mark.parametrize("header", [True, False])
def test_names_are_as_they_are_written(tmp_path, name, header):
    names = ["007", "07", "7", "1234567890123456788", "1234567890123456789", "NA", "None", "nan", "1.0", "1e2"]
    table = frame().assign(kind=np.repeat(names, 4), site=np.tile(["01", "1"], 20))
    table.loc[0, "kind"] = None
    path = tmp_path / name
    if path.suffix == ".xlsx":
        table.to_excel(path, index=False, header=header)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",", header=header)
    columns = {c: c if header else str(i) for i, c in enumerate(table.columns)}
    settings = {"label": columns["kind"], "split_column": columns["part"], "groups": [columns["site"]]}
    data = load(path, header=header, drop=[], **settings)
    assert lists(data) == {"train": sorted(names[:6]), "val": sorted(names[6:8]), "test": sorted(names[8:])}
    skipped = f"in column '{columns['kind']}' skipped, the first in line {2 if header else 1}"
    assert data.skipped.warnings == (f"1 row without a class {skipped}",)
    assert set(data.example_groups[columns["site"]]["train"].names) == {"01", "1"}


def test_two_columns_of_one_name_are_refused_in_excel_too(tmp_path):
    path = tmp_path / "table.xlsx"
    frame().rename(columns={"height": "weight"}).to_excel(path, index=False)
    with pytest.raises(UserError, match=r"table.xlsx has two columns called 'weight'; rename one"):
        load(path)


def test_disk_holds_the_same_as_memory(write):
    path = write(frame())
    memory, disk = load(path), load(path, storage="disk")
    assert disk.splits["train"].on_disk
    assert memory.hash == disk.hash


def test_the_cache_is_read_until_the_file_changes(write, monkeypatch):
    path = write(frame())
    before = load(path)
    with monkeypatch.context() as patch:
        patch.setattr("metarun.data.tables.table_file.read_table", lambda *_: pytest.fail("it is cached"))
        assert load(path).hash == before.hash
    assert load(path, split_seed=1).hash != before.hash
    write(frame().assign(weight=1.0))
    assert load(path).hash != before.hash


def test_check_says_what_there_is_and_whether_the_cache_agrees(write):
    path = write(frame())
    source = Table(root=str(path), label="kind", drop=["part"])
    holds = "train 6 classes of 4 examples, val 2 of 4, test 2 of 4"
    assert source.check() == f"{holds}; not cached yet"
    source.load()
    assert source.check() == f"{holds}; the cache matches"
    assert all(file.is_file() for file in source.cache_files())
    assert source.where() == str(path)


@pytest.mark.parametrize(
    ("change", "settings", "sentence"),
    [
        (None, {"root": None}, r"data=table needs a table; set `data.root` to a CSV, Parquet or Excel file"),
        (None, {"label": None}, r"data=table needs the column of classes; set `data.label` to its name"),
        (None, {"root": "no.csv"}, r"data.root=no.csv is not a file; set `data.root` to a table \(.csv, .tsv"),
        (None, {"label": "kinds"}, r"has no column 'kinds' \(data.label\); its columns are kind, .* mean 'kind'"),
        (None, {"columns": ["wieght"]}, r"no column 'wieght' \(data.columns\); .* Did you mean 'weight'"),
        (None, {"drop": ["id"]}, r"no column 'id' \(data.drop\)"),
        (None, {"split_column": "fold"}, r"no column 'fold' \(data.split_column\)"),
        (None, {"columns": ["kind"]}, r"has no column besides 'kind' to describe a row; name some by `data.columns`"),
        (None, {"split": "no.json"}, r"split 'no.json' of .* is not an existing file; correct `data.split`"),
        (lambda t: t.iloc[:20], {}, r"has 5 classes but meta-train, meta-val and meta-test need 2 each; add some"),
        (lambda t: t.iloc[:0], {}, r"table.csv has no rows; fill it"),
        (
            lambda t: t.assign(weight=[*t["weight"][:-1], np.inf]),
            {},
            r"line 41 of .*table.csv has an infinite number in column 'weight'; correct it",
        ),
        (
            lambda t: t.assign(weight=[np.nan, *t["weight"][1:]]),
            {"missing": "error"},
            r"line 2 of .*table.csv has no value in column 'weight'; fill it, or set `data.missing=mean`",
        ),
        (
            lambda t: t.assign(part=["test", *t["part"][1:]]),
            {"split_column": "part", "drop": []},
            r"class 'class 0' of .* has 'test' in column 'part' in line 2 but 'train' in line 3; give each class",
        ),
        (
            lambda t: t.assign(part=t["part"].replace("val", "dev")),
            {"split_column": "part", "drop": []},
            r"class 'class 6' of .* has the split 'dev'; write train, val or test into the column",
        ),
        (
            lambda t: t.assign(part=t["part"].replace("val", "train")),
            {"split_column": "part", "drop": []},
            r"the split column of .* has no class in 'val'; add one",
        ),
        (
            lambda t: pd.concat([t] * 100).assign(colour=[f"c{i}" for i in range(4000)]),
            {},
            r"column 'colour' has 2,\d\d\d different texts in meta-train, .* such as by `data.drop=\[colour\]`",
        ),
        (
            lambda t: t.rename(columns={"height": "weight"}),
            {},
            r"table.csv has two columns called 'weight'; rename one",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(write, change, settings, sentence):
    table = frame()
    path = write(change(table) if change else table)
    with pytest.raises(UserError, match=sentence):
        load(path, **settings)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("table.json", "{}", r"table.json is not a table that metarun reads; convert it to one of .csv, .tsv"),
        ("table.parquet", "kind,weight", r"table.parquet cannot be read as a table \("),
        ("table.csv", "", r"table.csv cannot be read as a table \(No columns to parse from file\)"),
        ("table.csv", "kind,weight\na,1,2\n", r"the rows of .*table.csv have more values than its first line"),
        ("table.csv", "kind,weight\na,1\nb,2,3\n", r"cannot be read as a table \(.*Expected 2 fields in line 3, saw 3"),
    ],
)
def test_a_file_that_is_no_table_is_one_sentence(write, name, content, sentence):
    with pytest.raises(UserError, match=sentence):
        load(write(content, name))


def test_a_table_that_is_not_utf_8_is_refused_with_the_line(tmp_path):
    (tmp_path / "t.csv").write_bytes("kind,size\na,1\nété,2\n".encode("latin1"))
    with pytest.raises(UserError, match=r"line 3 of .*t\.csv is not UTF-8 \(byte 0xe9\); convert the file, such as by"):
        load(tmp_path / "t.csv")
