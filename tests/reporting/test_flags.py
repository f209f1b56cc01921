"""Rows that must not be compared, the best row on the same tasks and its ties, and published results."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from metarun.config.folder import config_dir
from metarun.reporting.tables.flags import flags, rank_cells
from metarun.reporting.tables.published import published, published_text
from metarun.reporting.tables.rows import rows_as_csv
from tests.cli.test_compare import record
from tests.reporting.test_paired import compare, made, of_seeds, three  # noqa: F401, compare is a fixture


def unread(**changes) -> dict:
    return record(stream_hash="same", path="nowhere", **changes)


def test_rows_that_must_not_be_compared_are_flagged():
    rows = [
        *(record(data_hash="a", transductive=False) for _ in range(3)),
        record(data_hash="a", transductive=True),
        record(data_hash="a", transductive=False, test_query=1),
        record(data_hash="b", transductive=False),
        record(data_hash="c", test_way=20),  # the only one of its task size
    ]
    assert flags(rows) == [[], [], [], ["transductive"], ["queries"], ["data"], []]


def test_rows_that_are_all_transductive_are_not_flagged():
    assert flags([record(), record()]) == [[], []]


def test_flags_are_in_every_format(compare):  # noqa: F811
    runs = [*three(), made("0000000d", "relation", 0.0, transductive=False, stream_hash="other", test_query=1)]
    _, printed, _ = compare(runs=runs)
    assert "‡ the number of queries per class differs" in printed
    assert "† transductive: predictions depend" in printed
    _, printed, _ = compare("--format", "json")
    assert {row["algo"]: row["flags"] for row in json.loads(printed)}["relation"] == ["queries"]
    _, printed, _ = compare("--format", "csv")
    assert ",queries," in next(line for line in printed.splitlines() if "0000000d" in line)


def test_the_best_is_bold_and_its_ties_are_marked(compare):  # noqa: F811
    runs = [*three(), made("0000000d", "relation", 0.0099, noise=0.03)]
    _, printed, _ = compare("--format", "md", runs=runs)
    figures = {
        line.split("|")[1].strip(): line.split("|")[4].strip() for line in printed.splitlines() if "0000" in line
    }
    assert figures["protonet"].startswith("**8")
    assert figures["relation"].endswith("≈")
    assert "≈" not in figures["maml"] + figures["anil"]
    assert "≈: not significantly different from the best (paired t-test, Holm, 0.05)." in printed
    _, printed, _ = compare("--format", "latex")
    assert printed.count(r"& \bfseries ") == 1
    assert r"$\approx$" in printed


def test_a_pivot_marks_the_best_mean_over_seeds(compare):  # noqa: F811
    runs = [
        made(f"0000000{i}", algo, gain, seed=i % 2)
        for i, (algo, gain) in enumerate([("maml", 0)] * 2 + [("a", 0.02)] * 2)
    ]
    code, printed, _ = compare("--rows", "algo", "--format", "md", runs=runs)
    assert code == 0
    best = next(line for line in printed.splitlines() if line.startswith("| a "))
    assert best.count("**") == 2
    assert " ± " in best, "the interval over tasks of the mean"
    assert "(sd 0.00, 2 seeds)" in best


def test_the_best_over_seeds_is_tested_over_seeds(compare):  # noqa: F811
    # On these trainings each method differs significantly, but the trainings of one method differ as much.
    runs = [*of_seeds(0.0, 0x10, 3, 0.02, algo="maml"), *of_seeds(0.025, 0x20, 3, 0.02, algo="protonet")]
    _, printed, _ = compare("--format", "md", runs=runs)
    (maml,) = (line for line in printed.splitlines() if line.startswith("| maml"))
    assert "(sd 2.00, 3 seeds) ≈" in maml
    assert "(paired t-test, over seeds where both have several, Holm, 0.05)" in printed
    _, printed, _ = compare("--format", "md", "--each-seed")
    assert "≈ |" not in printed


def test_transductive_runs_are_ranked_separately():
    cells = [[unread(transductive=seen, accuracy=a)] for seen, a in [(True, 0.9), (True, 0.8), (False, 0.7)]]
    found, sentence = rank_cells(cells)
    assert found == ["best", "", ""]
    assert "ties are unknown: nowhere/tasks.parquet cannot be read" in str(sentence)


def test_runs_with_external_data_are_ranked_separately():
    cells = [
        [unread(accuracy=a, **more)] for a, more in [(0.9, {"external_data": "ImageNet-1k"}), (0.8, {}), (0.7, {})]
    ]
    assert rank_cells(cells)[0] == ["", "best", ""]


def test_a_column_says_what_a_pre_trained_network_saw(compare):  # noqa: F811
    runs = [made("00000001", "maml", 0), {**made("00000002", "protonet", 0.1), "external_data": "ImageNet-1k"}]
    _, printed, _ = compare("--format", "md", runs=runs)
    assert "| external data |" in printed
    assert "ImageNet-1k" in printed
    assert "such rows are ranked separately" in printed


def test_rows_on_different_tasks_and_single_rows_are_not_ranked():
    assert rank_cells([[record(stream_hash="a")], [record(stream_hash="b")], [record()]]) == (["", "", ""], None)


def test_without_the_tasks_of_a_run_ties_are_reported_as_unknown(compare):  # noqa: F811
    compare(runs=three())
    Path("results/runs/maml-0000000a/tasks.parquet").unlink()
    code, printed, _ = compare("--format", "md")
    assert code == 0
    assert "**" in printed
    assert "ties are unknown" in printed


def test_ties_are_not_tested_among_very_many_runs(monkeypatch):
    monkeypatch.setattr("metarun.reporting.tables.flags.MAX_TESTED", 2)
    cells = [[unread(accuracy=a)] for a in (0.7, 0.9, 0.8)]
    found, sentence = rank_cells(cells)
    assert found == ["", "best", ""]
    assert "ties are not tested among more than 2" in sentence


def test_several_seeds_tested_on_a_single_task_are_tied(monkeypatch):
    figures = "metarun.reporting.tables.flags.figures_by_step"
    monkeypatch.setattr(figures, lambda record: np.array([[record["accuracy"]]]))
    cells = [[unread(accuracy=a, seed=seed, test_tasks=1) for seed in range(2)] for a in (0.7, 0.9)]
    assert rank_cells(cells)[0] == ["tie", "best"]


def test_the_smallest_error_is_best():
    rows = [{**unread(), "mse": mse} for mse in (0.3, 0.1)]
    assert rank_cells([[row] for row in rows])[0] == ["", "best"]


OMNIGLOT = {"data": "omniglot", "test_data": "omniglot"}


def test_a_published_result_is_shown_for_the_same_setting(compare):  # noqa: F811
    assert published_text(record(**OMNIGLOT)) == "98.7 ± 0.4"
    assert published_text(record(**OMNIGLOT, algo="protonet")) == "98.8"
    assert published(record(**OMNIGLOT, test_way=20)) is None
    assert published_text(record(**OMNIGLOT, train_labels="none")) == "83.8", "UMTRA's, not that with labels"
    assert published(record(**OMNIGLOT, algo="protonet", train_labels="none")) is None
    assert published(record(**OMNIGLOT, way=20, test_way=5)) is None, "trained for other tasks"
    within = {**OMNIGLOT, "algo": "protonet", "way": 20, "test_way": 20, "test_within": "alphabet"}
    assert published(record(**within)) is None, "not the figure on tasks across alphabets"
    assert published_text(record(**within, test_across="drawer")) == "86.3", "of the same task"
    assert published(record(**{**OMNIGLOT, "data": "glyphs"})) is None, "trained on other data"
    runs = [made("0000000a", "maml", 0.0, **OMNIGLOT), made("0000000b", "anil", 0.0, **OMNIGLOT)]
    _, printed, _ = compare("--format", "md", runs=runs)
    assert "| 98.7 ± 0.4 " in printed
    note = "Published results, on other tasks and with other code: maml: Finn, Abbeel, Levine 2017, table 1."
    assert note in printed


def test_a_published_result_can_be_a_squared_error():
    sinusoid = {"data": "sinusoid", "test_data": "sinusoid", "shot": 5, "test_shot": 5, "backbone": "mlp"}
    assert published_text(record(**sinusoid, mse=0.4, steps=10)) == "mse 0.35"
    assert published(record(**sinusoid, mse=0.4, steps=1)) is None, "table 2 has another value for it"
    row = {**record(**sinusoid, mse=0.4, floor_mse=4.0, steps=10)}
    assert pd.read_csv(io.StringIO(rows_as_csv([row]))).published.item() == 0.35


def test_a_users_experiment_can_have_a_published_result():
    own = {"accuracy": 0.5, "ci95": None, "source": "me", "of": {"algo": "maml", "test_data": "glyphs"}}
    assert published_text(record(published=own)) == "50.0"
    assert published(record(published=own, algo="anil")) is None


@pytest.mark.parametrize("path", sorted((config_dir() / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_published_result_in_an_experiment_matches_its_comment(path):
    config, head = yaml.safe_load(path.read_text()), path.read_text().splitlines()[2]
    if "published" in config:
        published = config["published"]
        figure = f"mse {published['mse']}" if "mse" in published else f"{100 * published['accuracy']:.4g}"
        assert f"Published: {figure}" in head
        assert published["source"] in head
    elif "rl" in path.stem.split("_"):  # returns differ in scale from one environment to the next
        assert re.match(r"# Published: return -?\d", head)
    else:
        assert any(words in head for words in ("a curve only", "Published: nothing", "was not checked here"))
