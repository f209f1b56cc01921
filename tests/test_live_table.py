"""What a sweep shows on a terminal while it goes on, and what its runs tell it for that."""

import io
import logging

from rich.console import Console

from metarun.command_line.job import Job, jobs_of
from metarun.command_line.live_table import live_table
from metarun.display import Screen
from metarun.observer import Pace
from metarun.orphan import PARENT
from metarun.results import OCCUPIED


def heard(number: int, *lines: str, state: str | None = None) -> Job:
    job = Job(number, [], f"seed={number}")
    for line in lines:
        job.hear(line)
    job.state = state or job.state
    return job


def shown(jobs: list[Job], height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=160, height=height)
    console.print(live_table(jobs, total=9, at_a_time=2, height=height))
    return console.file.getvalue().splitlines()


STEPS = (
    "meta-training maml-glyphs",
    "step 100: meta-val accuracy 64.00%",
    "step 120, 3.1 a second, about 2 min 3 s left",
)


def test_every_run_has_its_state_step_figure_and_time_left():
    failed = heard(2, *STEPS, state="failed")
    failed.complaints.append("metarun: error: the loss became nan; lower `algo.inner_lr`.")
    lines = shown([heard(0, state="done"), heard(1, *STEPS), failed, heard(3), heard(4, f"{OCCUPIED} a/b; waiting.")])
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
    job = heard(0, *STEPS, "meta-testing maml-glyphs")
    assert (job.state, job.step, job.left) == ("testing", "120", "")
    job.hear("200 of 1,000 tasks, about 8 s left")
    assert (job.step, job.figure, job.left) == ("120", "64.00%", "8 s")
    job.hear("→ results/runs/a")
    assert job.left == ""


def test_a_run_of_a_sweep_says_every_second_how_it_goes_and_keeps_that_out_of_its_log(monkeypatch, caplog):
    monkeypatch.setattr("metarun.display.HEARTBEAT_IN_A_SWEEP", -1)
    caplog.set_level(logging.INFO)
    for in_a_sweep in (False, True):
        if in_a_sweep:
            monkeypatch.setenv(PARENT, "1")
        console = Console(file=io.StringIO(), width=80)
        screen = Screen(console, regression=False)
        screen.trained(Pace(120, 0.5, loss=0.3, learning_rate=0.1, seconds=60))
        screen.judged(0, 1000)
        screen.judged(500, 1000)
        told = console.file.getvalue().splitlines()
        assert len(told) == (3 if in_a_sweep else 0)
    assert told[0] == "step 120, 2.0 a second, loss 0.3000, about 1 min 0 s left"
    assert told[1] == "0 of 1,000 tasks"
    assert told[2].startswith("500 of 1,000 tasks, about ")
    assert caplog.text == ""
