"""Verdicts on published figures, and the rows that are kept."""

import json
import math
import shutil
from pathlib import Path

import pytest

from metarun.reporting.plots.training import draw_training
from metarun.reporting.reference.experiments import Experiment, experiments, stored_runs
from metarun.reporting.reference.keep import keep
from metarun.reporting.reference.tables import TrainingCurve, curve, finished, result_rows
from metarun.reporting.reference.verdicts import Verdict, published_text, verdicts
from metarun.results.metrics import ACCURACY, MSE, RETURN
from metarun.results.run_directory import RunDirectory

KEPT = Path(__file__).parents[2] / "results" / "reference"
SINUSOID = experiments()["maml_sinusoid_5points"]


@pytest.mark.parametrize(
    ("metric", "published", "published_half", "ours", "half", "text"),
    [
        (ACCURACY, 0.987, 0.004, 0.981, 0.005, "within"),  # 0.6 points; the two intervals allow 0.64
        (ACCURACY, 0.987, 0.004, 0.981, 0.004, "worse by 0.60"),  # they allow 0.57
        (ACCURACY, 0.988, None, 0.993, 0.002, "better by 0.50"),
        (MSE, 0.35, None, 0.362, 0.057, "within"),
        (MSE, 0.35, None, 0.25, 0.05, "better by 0.1000"),  # less is better
        (MSE, 0.35, None, 0.45, 0.05, "worse by 0.1000"),
        (ACCURACY, 0.9, None, 0.9, None, "within"),
        (MSE, 0.35, None, 1.2e24, 2.4e24, "undecided"),  # one task almost diverged
        (MSE, 0.35, None, 1.2e24, None, "worse by 1.2e+24"),
    ],
)
def test_a_verdict_allows_for_both_intervals_and_knows_the_direction(
    metric, published, published_half, ours, half, text
):
    assert Verdict(metric, None, published, published_half, ours, half, 1).text == text


def copy_of_sinusoid(folder: Path) -> Path:
    (kept,) = KEPT.glob("maml-sinusoid-1w5s-17a7fd7b")
    return Path(shutil.copytree(kept, folder / kept.name))


def test_every_published_step_is_compared_with_its_own_interval(tmp_path):
    copy_of_sinusoid(tmp_path)
    records = finished(stored_runs(tmp_path)[SINUSOID.seedless])
    found = verdicts(SINUSOID, records)
    assert [(each.step, each.published) for each in found] == [(1, 0.67), (5, 0.38), (10, 0.35)]
    assert [round(each.ours, 3) for each in found] == [0.653, 0.455, 0.362]
    assert found[-1].half == pytest.approx(records[0]["mse_ci95"])
    assert {each.text for each in found} == {"within"}


def test_seeds_are_averaged_and_their_spread_is_in_the_interval(tmp_path):
    one = copy_of_sinusoid(tmp_path)
    two = Path(shutil.copytree(one, tmp_path / "maml-sinusoid-1w5s-00000002"))
    row = json.loads((two / "result.json").read_text())
    (two / "result.json").write_text(json.dumps({**row, "seed": 1, "id": "00000002"}))
    alone = verdicts(SINUSOID, finished(stored_runs(tmp_path)[SINUSOID.seedless])[:1])[-1]
    both = verdicts(SINUSOID, finished(stored_runs(tmp_path)[SINUSOID.seedless]))[-1]
    assert both.seeds == 2
    assert (both.ours, both.half) == (pytest.approx(alone.ours), pytest.approx(alone.half, rel=1e-3)), "equal seeds"


def test_tasks_that_diverged_with_one_seed_are_excluded_from_the_interval_of_all():
    experiment = experiments()["maml_sinusoid_5points"]
    records = finished(stored_runs(KEPT)[experiment.seedless])
    assert sum(record.get("diverged", 0) for record in records) == 1
    found = verdicts(experiment, records)
    assert [each.text for each in found[:2]] == ["within", "within"]
    assert found[-1].text == "undecided"


def test_seeds_are_averaged_where_nothing_is_published():
    experiment = experiments()["protonet_fsdd_four_voices_5w1s"]
    (row,) = result_rows([experiment], stored_runs(KEPT))
    ours, half = (float(number) for number in row[3].split(" ± "))
    assert ours == round(50 * (0.8069333 + 0.8028267), 2), "of the two seeds"
    assert half > 0.6, "the half-width over the tasks of one"
    assert row[4:7] == ["–", "69.16", "2"]


def test_a_row_of_an_unfinished_run_says_how_far_it_is(tmp_path):
    unfinished = copy_of_sinusoid(tmp_path)
    (unfinished / "result.json").unlink()
    (unfinished / "curve.csv").write_text("iteration,split,loss,accuracy,seconds\n7000,val,0.5,,3600\n")
    (row,) = result_rows([SINUSOID], stored_runs(tmp_path))
    assert row[2:5] == ["0.3500", "meta-val 0.5000", "not to the end: 10.0%"]
    assert row[7:] == ["7,000", "1.0 h", "AMD EPYC, 1 thread, torch 2.13.0"]


def test_the_published_figure_of_an_unfinished_run_has_its_interval():
    assert published_text(experiments()["maml_omniglot_5w1s"], ACCURACY) == "98.70 ± 0.40"
    assert published_text(experiments()["caml_clinc150"], ACCURACY) == "–"


def test_a_validation_in_which_all_tasks_diverged_has_no_value(tmp_path):
    unfinished = copy_of_sinusoid(tmp_path)
    (unfinished / "result.json").unlink()
    rows = "500,val,0.5,,60\n1000,val,,,120\n"
    (unfinished / "curve.csv").write_text(f"iteration,split,loss,accuracy,seconds\n{rows}")
    (run,) = stored_runs(tmp_path)[SINUSOID.seedless]
    assert curve(run).values == [0.5, pytest.approx(math.nan, nan_ok=True)]
    (row,) = result_rows([SINUSOID], stored_runs(tmp_path))
    assert row[3] == "meta-val diverged"


def test_an_experiment_that_tests_the_weights_of_another_has_its_row_from_the_test(tmp_path):
    experiment = experiments()["protonet_omniglot_20w1s"]
    assert experiment.training == experiments()["protonet_omniglot_5w1s"]
    run = copy_of_test(tmp_path / "runs", experiment)
    kept = keep(RunDirectory(run), tmp_path / "reference")
    assert "run: results/runs/protonet-omniglot-5w1s-0000000a\n" in (kept / "config.yaml").read_text()
    (row,) = result_rows([experiment], stored_runs(tmp_path / "reference"))
    assert row[:5] == ["protonet_omniglot_20w1s", "", "96.00", "95.50 ± 0.20", "worse by 0.50"]
    (run / "result.json").unlink()
    assert result_rows([experiment], stored_runs(tmp_path / "runs")) == [], "an unfinished test is of no experiment yet"


def copy_of_test(folder: Path, experiment: Experiment) -> Path:
    """Make the directory of a test of the weights of another experiment, from a row that was kept."""
    (kept,) = KEPT.glob("protonet-plants-5w1s-5499c6e3")
    run = Path(shutil.copytree(kept, folder / "protonet-omniglot-20w1s-0000000b"))
    row = json.loads((run / "result.json").read_text())
    of_test = {"trained_by": "0000000a", "seedless_id": experiment.seedless, "accuracy": 0.955, "accuracy_ci95": 0.002}
    (run / "result.json").write_text(json.dumps({**row, **of_test, "accuracy_by_step": [0.955]}))
    (run / "config.yaml").write_text("run: /home/me/runs/protonet-omniglot-5w1s-0000000a\nresults_dir: results\n")
    (run / "tasks.parquet").unlink()
    return run


def test_a_curve_is_in_the_metric_of_its_tasks():
    (run,) = stored_runs(KEPT)[experiments()["maml_rl_navigation2d"].seedless]
    assert (curve(run).metric, curve(run).values[0]) == (RETURN, pytest.approx(-12.63, abs=0.01))


def test_what_is_kept_names_no_folder_and_holds_no_weights(tmp_path):
    run = copy_of_sinusoid(tmp_path)
    environment = json.loads((run / "environment.json").read_text())
    place = {"host": "my-laptop", "directory": "/home/me", "command": "python /home/me"}
    (run / "environment.json").write_text(json.dumps({**environment, **place, "resumed": [place]}))
    (run / "config.yaml").write_text(
        (run / "config.yaml").read_text().replace("results_dir: ", "results_dir: /home/me/")
    )
    (run / "best.pt").write_bytes(b"weights")
    kept = keep(RunDirectory(run), tmp_path / "reference")
    assert sorted(path.name for path in kept.iterdir()) == [
        *("config.yaml", "curve.csv", "environment.json", "result.json", "tasks.parquet")
    ]
    assert not any(word in path.read_bytes() for path in kept.iterdir() for word in (b"/home/me", b"my-laptop"))
    assert json.loads((kept / "environment.json").read_text())["resumed"] == [{}]


def test_a_damaged_row_is_named_and_the_others_are_read(tmp_path, capsys):
    run = copy_of_sinusoid(tmp_path)
    damaged = shutil.copytree(run, tmp_path / "maml-sinusoid-1w5s-0000000d")
    (damaged / "result.json").write_text("{")
    assert len(stored_runs(tmp_path)[SINUSOID.seedless]) == 1
    assert "0000000d" in capsys.readouterr().err


def test_the_page_is_made_from_what_is_committed():
    from scripts.reference_page import PAGE, page

    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run `python scripts/reference_page.py`"


def test_every_kept_row_is_of_an_experiment_and_small():
    known = {each.seedless for each in experiments().values()}
    assert set(stored_runs(KEPT)) <= known
    assert all(path.stat().st_size < 1_000_000 for path in KEPT.rglob("*"))


def test_every_experiment_has_a_panel_with_a_line_per_seed_and_the_published_figure():
    curve = TrainingCurve(ACCURACY, [1, 2], [1.0, 2.0], [0.5, 0.9])
    error = TrainingCurve(MSE, [1, 2], [1.0, 2.0], [0.5, 0.1])
    figure = draw_training([("one", [curve, curve], 0.987), ("two", [error], None)])
    one, two, _ = figure.axes
    assert [list(line.get_ydata()) for line in one.lines] == [[50, 90], [50, 90], [98.7, 98.7]]
    assert (two.get_title(), two.get_yscale(), len(two.lines)) == ("two", "log", 1)
