"""The tables of a sweep."""

from pathlib import Path

import pandas as pd
import pytest

from metarun.sweeps.tables import write_tables
from metarun.system.atomic_write import write_json
from tests.cli.test_compare import record
from tests.cli.test_plot import pixels_across

FOLDER = Path("results/sweeps/mine")


@pytest.fixture
def written(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*records):
        paths = [Path("results/runs") / each["id"] for each in records]
        for path, each in zip(paths, records, strict=True):
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / "result.json", each)
        write_tables(FOLDER, paths)
        return capsys.readouterr()

    return run


SIZES = [record(), record(id="11111111", test_shot=5, accuracy=0.97), record(id="22222222", algo="anil", accuracy=0.85)]


def test_several_task_sizes_are_written_as_a_pivot_and_a_heatmap(written):
    printed, stderr = written(*SIZES)
    pivot = """\
| algo | test_way=5, test_shot=1 | test_way=5, test_shot=5 |
| :--- | :---------------------- | :---------------------- |
| anil | 85.00 ± 0.40 †          | –                       |
| maml | 90.00 ± 0.40 †          | 97.00 ± 0.40 †          |
"""
    assert not stderr
    assert pivot in (FOLDER / "table.md").read_text()
    assert (FOLDER / "table.md").read_text().startswith("| method ")
    assert len(pd.read_csv(FOLDER / "table.csv")) == 3
    assert pixels_across(FOLDER / "heatmap.png") == 990
    table, _, rest = printed.partition("In all rows:")
    assert "11111111" in table
    assert "97.00 ± 0.40 †" in rest
    assert rest.endswith(f"→ {FOLDER}\n")


def test_one_task_size_has_neither_and_an_older_heatmap_is_removed(written):
    written(*SIZES)
    written(SIZES[0], SIZES[2])
    assert not (FOLDER / "heatmap.png").exists()
    assert "test_shot=" not in (FOLDER / "table.md").read_text()


def test_accuracies_and_squared_errors_have_tables_but_no_heatmap(written):
    regression = {**record(id="33333333", data="sinusoid", test_data="sinusoid", test_shot=10), "mse": 0.3}
    regression["floor_mse"] = 4.0
    _, stderr = written(*SIZES, regression)
    assert f"skipped: {FOLDER}/heatmap.png: these runs mix accuracy and squared error" in stderr
    assert "| mse 0.3000 †" in (FOLDER / "table.md").read_text()


def test_nothing_is_written_for_fewer_than_two_runs(written):
    assert written(SIZES[0]) == ("", "")
    assert not FOLDER.exists()
