"""What a sweep shows on a terminal while it goes on, and what its runs tell it for that."""

import io
import logging

from rich.console import Console

from metarun.loggers.observer import Look, Pace
from metarun.loggers.terminal import Screen
from metarun.results.metrics import ACCURACY, MSE
from metarun.sweeps.job import Job, jobs_of
from metarun.sweeps.live_table import live_table


def heard(number: int, *events: dict, state: str | None = None) -> Job:
    job = Job(number, [], f"seed={number}")
    for event in events:
        job.update(event)
    job.state = state or job.state
    return job


def shown(jobs: list[Job], height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=160, height=height)
    console.print(live_table(jobs, total=9, at_a_time=2, height=height))
    return console.file.getvalue().splitlines()


STEPS = (
    {"event": "phase", "phase": "training"},
    {"event": "validated", "step": 100, "score": 0.64, "figure": "64.00%"},
    {"event": "progress", "step": "120", "left": "2 min 3 s"},
)


def test_every_run_has_its_state_step_figure_and_time_left():
    failed = heard(2, *STEPS, state="failed")
    failed.update({"event": "failed", "reason": "the loss became nan; lower `algo.inner_lr`."})
    lines = shown([heard(0, state="done"), heard(1, *STEPS), failed, heard(3), heard(4, {"event": "waiting"})])
    assert [line.split() for line in lines] == [
        ["run", "state", "step", "meta-val", "left"],
        ["seed=1", "training", "120", "64.00%", "2", "min", "3", "s"],
        ["seed=3", "starting"],
        ["seed=4", "waiting"],
        ["seed=2", "failed", "120", "64.00%", *failed.reason.split()],
        ["seed=0", "done"],
        ["1", "done,", "1", "failed,", "3", "at", "work,", "4", "to", "come,", "of", "9;", "2", "at", "a", "time"],
    ]


def test_a_low_terminal_shows_what_is_at_work_and_what_failed_before_what_is_done():
    jobs = [*(heard(i, state="done") for i in range(5)), heard(5, state="failed"), heard(6), heard(7)]
    assert [line.split()[0] for line in shown(jobs, height=8)] == ["run", "seed=6", "seed=7", "seed=5", "seed=4", "5"]
    assert [line.split()[0] for line in shown(jobs, height=3)] == ["run", "seed=6", "seed=7", "5"]


def test_brackets_in_a_label_are_no_markup():
    (job,) = jobs_of([["logger=[csv,tensorboard]"]], first=0)
    assert "logger=[csv,tensorboard]" in shown([job])[1]


def test_a_run_that_is_tested_keeps_its_last_step_and_says_how_long_it_takes():
    job = heard(0, *STEPS, {"event": "phase", "phase": "testing"})
    assert (job.state, job.step, job.left) == ("testing", "120", "")
    job.update({"event": "progress", "left": "8 s"})
    assert (job.step, job.figure, job.left) == ("120", "64.00%", "8 s")
    job.update({"event": "finished", "path": "results/runs/a"})
    assert job.left == ""


def test_a_run_of_a_sweep_tells_it_how_it_goes_and_keeps_that_out_of_its_log(monkeypatch, caplog):
    monkeypatch.setattr("metarun.loggers.terminal.HEARTBEAT_IN_A_SWEEP", -1)
    caplog.set_level(logging.INFO)
    told = []
    monkeypatch.setattr("metarun.loggers.terminal.emit", lambda event, **facts: told.append({"event": event, **facts}))
    for in_a_sweep in (False, True):
        monkeypatch.setattr("metarun.loggers.terminal.in_sweep", lambda sweep=in_a_sweep: sweep)
        screen = Screen(Console(file=io.StringIO(), width=80), ACCURACY)
        screen.trained(Pace(120, 0.5, loss=0.3, learning_rate=0.1, seconds=60))
        screen.judged(0, 1000)
        screen.judged(500, 1000)
        assert screen.console.file.getvalue() == ""
        assert len(told) == (3 if in_a_sweep else 0)
    assert told[:2] == [{"event": "progress", "step": "120", "left": "1 min 0 s"}, {"event": "progress", "left": ""}]
    assert caplog.text == ""


def test_what_a_run_tells_of_a_look_moves_the_table(monkeypatch):
    told = []
    monkeypatch.setattr("metarun.loggers.terminal.emit", lambda event, **facts: told.append({"event": event, **facts}))
    look = {"iteration": 1020, "loss": 0.7, "ci95": None, "best": True}
    Screen(Console(file=io.StringIO()), ACCURACY).validated(Look(value=0.5, **look))
    Screen(Console(file=io.StringIO()), MSE).validated(Look(value=3.135, **look))
    job = Job(3, ["algo=maml"], "algo=maml")
    assert [job.update(event) for event in told] == [(1020, 0.5), (1020, -3.135)]
    assert [event["said"] for event in told] == [
        "step 1,020: meta-val accuracy 50.00% (best so far)",
        "step 1,020: meta-val mse 3.1350 (best so far)",
    ]
    assert (job.step, job.figure) == ("1,020", "mse 3.1350")
