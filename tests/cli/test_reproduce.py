"""`metarun reproduce`, with trainings replaced by a row that was kept."""

import json
import shutil
from pathlib import Path

import pytest

from metarun.cli import reproduce
from metarun.reporting.reference.experiments import experiments

KEPT = Path(__file__).parents[2] / "results" / "reference" / "maml-sinusoid-1w5s-17a7fd7b"


@pytest.fixture
def trains(monkeypatch, tmp_path):
    """Let training take no time; return the commands and the exit codes that it is to have."""
    commands, codes = [], []
    monkeypatch.chdir(tmp_path)

    def run(arguments):
        commands.append(arguments)
        code = codes.pop(0) if codes else 0
        if code == 0:
            shutil.copytree(KEPT, tmp_path / "results" / "runs" / KEPT.name, dirs_exist_ok=True)
        return code

    monkeypatch.setattr(reproduce, "_run", run)
    return commands, codes


def test_an_experiment_is_trained_to_the_end_and_judged(metarun, trains):
    code, printed, _ = metarun("reproduce", "maml_sinusoid_5points")
    assert code == 0
    assert trains[0] == [["train", "experiment=maml_sinusoid_5points", "seed=0", "results_dir=results"]]
    assert "0.3620 ± 0.0572" in printed
    assert "without an interval" in printed
    assert "selection: best of the validations on 200 meta-val functions instead of not stated" in printed


def test_seeds_are_trained_in_turn_and_rows_are_kept_on_request(metarun, trains):
    code, _, _ = metarun("reproduce", "maml_sinusoid_5points", "--seeds", "2", "--keep")
    assert code == 0
    assert [each[2] for each in trains[0]] == ["seed=0", "seed=1"]
    assert (Path("results/reference") / KEPT.name / "result.json").is_file()
    _, table, _ = metarun("reproduce", "--table", "--format", "md")
    assert "maml_sinusoid_5points" in table
    _, listed, _ = metarun("reproduce", "--list", "maml_sinusoid_5points", "maml_omniglot_5w1s")
    assert "1 seed: within" in listed
    assert "98.7 %" in listed


def test_the_weights_of_another_experiment_are_trained_once_and_tested(metarun, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    commands = []
    one_shot, twenty_ways = (experiments()[f"protonet_omniglot_{task}"] for task in ("5w1s", "20w1s"))

    def run(arguments):
        commands.append(arguments)
        of = {"train": (one_shot, "0000000a", {}), "test": (twenty_ways, "0000000b", {"trained_by": "0000000a"})}
        experiment, run_id, more = of[arguments[0]]
        made = Path(shutil.copytree(KEPT, f"results/runs/protonet-omniglot-5w1s-{run_id}", dirs_exist_ok=True))
        row = json.loads((made / "result.json").read_text())
        figures = {"accuracy": 0.96, "accuracy_by_step": [0.96], "steps": 0, "seedless_id": experiment.seedless}
        (made / "result.json").write_text(json.dumps({**row, **figures, **more, "id": run_id}))
        return 0

    monkeypatch.setattr(reproduce, "_run", run)
    code, printed, _ = metarun("reproduce", "protonet_omniglot_20w1s", "--keep")
    assert commands == [
        ["train", "experiment=protonet_omniglot_5w1s", "seed=0", "results_dir=results"],
        ["test", "run=0000000a", "task=20way1shot", "results_dir=results"],
    ]
    assert code == 0
    assert "The weights are those of protonet_omniglot_5w1s, as in the paper." in printed
    assert len([*Path("results/reference").iterdir()]) == 2


def test_a_failed_training_does_not_stop_the_others_and_shows_in_the_exit_code(metarun, trains):
    trains[1][:] = [1, 0]
    code, _, stderr = metarun("reproduce", "maml_omniglot_5w1s", "maml_sinusoid_5points")
    assert code == 1
    assert len(trains[0]) == 2
    assert "maml_omniglot_5w1s: no run is finished, so there is no verdict." in stderr


def test_ctrl_c_stops_the_list_and_says_how_to_go_on(metarun, trains):
    trains[1][:] = [130]
    code, printed, _ = metarun("reproduce", "maml_sinusoid_5points", "maml_omniglot_5w1s")
    assert code == 130
    assert len(trains[0]) == 1
    assert "stopped; `metarun reproduce maml_sinusoid_5points maml_omniglot_5w1s` resumes." in printed


def test_a_protocol_is_printed_line_by_line(metarun):
    _, printed, _ = metarun("reproduce", "--protocol", "protonet_omniglot")
    assert "20 epochs of 100 tasks" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "metarun reproduce needs an experiment; `metarun reproduce --list` shows them."),
        (
            ["maml_sinusoid_5point"],
            "`metarun reproduce --list` shows all. Did you mean 'maml_sinusoid_5points'?",
        ),
        (["maml_sinusoid_5points", "--seeds", "0"], "--seeds 0 is not at least 1"),
        (["qqq"], "there is no experiment 'qqq'; `metarun reproduce --list` shows all.\n"),
        (["--protocol", "maml_omnigl"], "there is no protocol of 'maml_omnigl'; choose one of "),
        (["--protocol", "maml_omnigl"], " Did you mean 'maml_omniglot'?\n"),
        (["--table"], "there are no rows in results/reference"),
    ],
)
def test_what_cannot_be_done_is_said(words, message, metarun, trains):
    code, _, stderr = metarun("reproduce", *words)
    assert code == 2
    assert message in stderr


@pytest.mark.slow
def test_training_runs_as_the_command_that_a_user_would_type(tmp_path):
    command = ["train", "algo=nearest_centroid", f"results_dir={tmp_path}"]
    assert reproduce._run([*command, "data=sinusoid"]) == 2, "no regression"
    assert reproduce._run([*command, "test.tasks=2"]) == 0
    assert list(tmp_path.glob("runs/nearest_centroid-glyphs-*/result.json"))
