"""The live table of a sweep, and the events of its runs."""

import io
import logging
import re

from rich.console import Console

from metarun.loggers.observer import TrainingProgress, Validation
from metarun.loggers.terminal import Screen
from metarun.results.metrics import ACCURACY, MSE
from metarun.sweeps.job import Job, jobs_of
from metarun.sweeps.live_table import live_table


def job_after(number: int, *events: dict, state: str | None = None) -> Job:
    job = Job(number, [], f"seed={number}")
    for event in events:
        job.update(event)
    job.state = state or job.state
    return job


def shown(jobs: list[Job], height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=160, height=height)
    console.print(live_table(jobs, total=9, n_jobs=2, height=height))
    return console.file.getvalue().splitlines()


STEPS = (
    {"event": "phase", "phase": "training"},
    {"event": "validated", "step": 100, "score": 0.64, "value": 0.64, "figure": "64.00%"},
    {"event": "progress", "step": "120", "left": "2 min 3 s"},
)


def test_every_run_has_its_state_step_figure_and_time_left():
    failed = job_after(2, *STEPS, state="failed")
    failed.update({"event": "failed", "reason": "the loss became nan; lower `algo.inner_lr`."})
    lines = shown(
        [job_after(0, state="done"), job_after(1, *STEPS), failed, job_after(3), job_after(4, {"event": "waiting"})]
    )
    assert [line.split() for line in lines] == [
        ["run", "state", "step", "meta-val", "meta-test", "left"],
        ["seed=1", "training", "120", "64.00%", "2", "min", "3", "s"],
        ["seed=3", "starting"],
        ["seed=4", "waiting"],
        ["seed=2", "failed", "120", "64.00%", *failed.reason.split()],
        ["seed=0", "done"],
        ["1", "done,", "1", "failed,", "3", "running,", "4", "pending,", "of", "9;", "2", "in", "parallel"],
    ]


def test_a_small_terminal_shows_running_jobs_first_then_failed_ones():
    jobs = [*(job_after(i, state="done") for i in range(5)), job_after(5, state="failed"), job_after(6), job_after(7)]
    assert [line.split()[0] for line in shown(jobs, height=8)] == ["run", "seed=6", "seed=7", "seed=5", "seed=4", "5"]
    assert [line.split()[0] for line in shown(jobs, height=3)] == ["run", "seed=6", "seed=7", "5"]


def test_brackets_in_a_label_are_not_markup():
    (job,) = jobs_of([["logger=[csv,tensorboard]"]], first=0)
    assert "logger=[csv,tensorboard]" in shown([job])[1]


def test_a_run_keeps_its_last_step_while_it_is_tested_and_shows_the_time_left():
    job = job_after(0, *STEPS, {"event": "phase", "phase": "testing"})
    assert (job.state, job.step, job.left) == ("testing", "120", "")
    job.update({"event": "progress", "left": "8 s"})
    assert (job.step, job.figure, job.left) == ("120", "64.00%", "8 s")
    job.update({"event": "finished", "path": "results/runs/a", "figure": "63.10 ± 0.40"})
    assert (job.left, job.result) == ("", "63.10 ± 0.40")


def test_a_validation_keeps_the_total_of_the_steps():
    job = job_after(0, {"event": "progress", "step": "90/1,200", "left": ""}, *STEPS[1:2])
    assert job.step == "100/1,200"


def test_the_time_left_of_a_sweep_comes_from_the_runs_that_have_ended():
    jobs = [job_after(0, state="done"), job_after(1, *STEPS)]  # one and a half of nine
    console = Console(file=io.StringIO(), width=160)
    console.print(live_table(jobs, total=9, n_jobs=1, height=24, seconds=60))
    assert console.file.getvalue().endswith("of 9; 1 in parallel; about 5 min 0 s left\n")


def test_the_bar_fits_80_columns_and_shows_steps_rate_and_meta_val():
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    screen = Screen(console, ACCURACY)
    with screen.phase("training", "meta-training maml-glyphs-5w1s-12345678"):
        screen.on_validation(Validation(15_000, 0.7, 0.5123, None, True))
        screen.on_progress(TrainingProgress(20_000, 0.2, 0.3, 0.1, 400, 60_000))
        screen._bar.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    assert "20,000/60,000 · 50.0/s · loss 0.300 · meta-val 51.23%" in shown
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]", shown) if line.startswith("training"))


def test_in_a_sweep_progress_is_emitted_as_events_and_not_logged(monkeypatch, caplog):
    monkeypatch.setattr("metarun.loggers.terminal.HEARTBEAT_IN_A_SWEEP", -1)
    caplog.set_level(logging.INFO)
    emitted = []
    monkeypatch.setattr("metarun.loggers.terminal.emit", lambda event, **data: emitted.append({"event": event, **data}))
    for in_a_sweep in (False, True):
        monkeypatch.setattr("metarun.loggers.terminal.in_sweep", lambda sweep=in_a_sweep: sweep)
        screen = Screen(Console(file=io.StringIO(), width=80), ACCURACY)
        screen.on_progress(TrainingProgress(120, 0.5, loss=0.3, learning_rate=0.1, seconds=60))
        screen.on_test_progress(0, 1000)
        screen.on_test_progress(500, 1000)
        assert screen.console.file.getvalue() == ""
        assert len(emitted) == (3 if in_a_sweep else 0)
    assert emitted[:2] == [{"event": "progress", "step": "120", "left": "1 min 0 s"}, {"event": "progress", "left": ""}]
    assert caplog.text == ""


def test_a_validation_updates_the_table(monkeypatch):
    emitted = []
    monkeypatch.setattr("metarun.loggers.terminal.emit", lambda event, **data: emitted.append({"event": event, **data}))
    common = {"iteration": 1020, "loss": 0.7, "ci95": None, "best": True}
    Screen(Console(file=io.StringIO()), ACCURACY).on_validation(Validation(value=0.5, **common))
    Screen(Console(file=io.StringIO()), MSE).on_validation(Validation(value=3.135, **common))
    job = Job(3, ["algo=maml"], "algo=maml")
    assert [job.update(event) for event in emitted] == [(1020, 0.5), (1020, -3.135)]
    assert [event["said"] for event in emitted] == [
        "step 1,020: meta-val accuracy 50.00% (best so far)",
        "step 1,020: meta-val mse 3.1350 (best so far)",
    ]
    assert (job.step, job.figure) == ("1,020", "mse 3.1350")
