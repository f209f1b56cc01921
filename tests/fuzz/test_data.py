"""Tables, texts and recordings, and the caches that are made of them."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from metarun.data import Audio, ClassDataset, RegressionTable, Table, Text
from metarun.data.contents import describe
from tests.fuzz.inputs import tiers, try_inputs
from tests.fuzz.sandbox import accepted_or_refused, check_sentence
from tests.fuzz.strange import dumped, spoilt
from tests.fuzz.strange_data import (
    ARGUMENTS,
    CELLS,
    COLUMNS,
    METADATA,
    as_csv,
    rows,
    strange_sounds,
    strange_tables,
)
from tests.fuzz.strange_pictures import write_files

pytestmark = pytest.mark.command

COLUMN = st.sampled_from(COLUMNS)


@pytest.fixture(autouse=True)
def _own_cache(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARUN_DATA", str(sandbox / "data"))


def loaded(source: Any) -> Any:
    """Return what a source loads, or None if it refuses; the same when it comes from the cache."""
    found = accepted_or_refused(source.load)
    if found is not None:
        describe(found)
        again = source.load()
        assert again.hash == found.hash
        data = found if isinstance(found, ClassDataset) else found.rows
        data.display()
        for clause in (*data.skipped.warnings, *data.skipped.unlisted):
            check_sentence(clause)
    return found


def written(suffix: str, content: bytes) -> str:
    shutil.rmtree("data", ignore_errors=True)
    path = Path(f"x{suffix}")
    path.write_bytes(content)
    return str(path)


@tiers
def test_a_table_is_read_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(file: tuple[str, bytes], arguments: dict[str, Any], header: bool, missing: str) -> None:
        loaded(Table(written(*file), "label", header=header, missing=missing, **arguments))

    try_inputs(
        tier,
        0.03,
        check,
        file=strange_tables((".csv", ".csv", ".tsv", ".parquet", ".csv.gz", ".xlsx")),
        arguments=ARGUMENTS,
        header=st.sampled_from([True, True, True, False]),
        missing=st.sampled_from(["mean", "error"]),
    )


@tiers
def test_entities_are_read_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(file: tuple[str, bytes], arguments: dict[str, Any], targets: list[str], order: str | None) -> None:
        loaded(RegressionTable(written(*file), "label", targets, drop=["text"], order=order, **arguments))

    try_inputs(
        tier,
        0.03,
        check,
        file=strange_tables((".csv", ".csv", ".parquet")),
        arguments=ARGUMENTS,
        targets=st.one_of(st.just(["x"]), st.lists(COLUMN, max_size=2)),
        order=st.one_of(st.none(), st.just("when"), COLUMN),
    )


@tiers
def test_texts_are_read_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(file: tuple[str, bytes], arguments: dict[str, Any], features: str) -> None:
        loaded(Text(written(*file), features=features, size=16, length=4, **arguments))

    try_inputs(
        tier,
        0.02,
        check,
        file=strange_tables((".csv", ".jsonl", ".jsonl", ".parquet", ".jsonl.gz", ".zip")),
        arguments=ARGUMENTS,
        features=st.sampled_from(["tokens", "tokens", "tfidf"]),
    )


@pytest.mark.slow
@pytest.mark.sampled
@tiers
def test_recordings_are_read_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(files: dict[str, bytes], table: tuple[str, bytes] | None) -> None:
        shutil.rmtree("x", ignore_errors=True)
        Path("x").mkdir()
        write_files(Path("x"), files)
        own = written(*table) if table else shutil.rmtree("data", ignore_errors=True)
        loaded(Audio("x", own, rate=8_000, seconds=0.1, mels=8, fft=256, hop=100))

    tables = st.one_of(st.none(), st.none(), strange_tables((".csv",)))
    try_inputs(tier, 0.02, check, files=strange_sounds(), table=tables)


@tiers
def test_a_damaged_cache_is_built_again(tier: str, sandbox: Path) -> None:
    source = Table(written(".csv", as_csv(rows())), "label", drop=["split"])
    whole = source.load()
    kept = {path: path.read_bytes() for path in Path("data/tables").iterdir() if path.suffix in (".npz", ".json")}

    def check(path: Path, data: st.DataObject) -> None:
        content = spoilt(st.just(kept[path]))
        path.write_bytes(data.draw(st.one_of(content, dumped(METADATA)) if path.suffix == ".json" else content))
        found = loaded(source)
        assert found.hash == whole.hash
        for each, before in kept.items():
            each.write_bytes(before)

    try_inputs(tier, 0.02, check, path=st.sampled_from(sorted(kept)), data=st.data())


@tiers
def test_a_cell_that_differs_is_told_or_refused(tier: str, sandbox: Path) -> None:
    def check(at: int, column: str, cell: Any) -> None:
        found = rows()
        found[at][column] = cell
        loaded(Table(written(".csv", as_csv(found)), "label", drop=["text"]))

    try_inputs(tier, 0.01, check, at=st.integers(0, 31), column=COLUMN, cell=CELLS)
