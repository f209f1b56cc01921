"""Cases of whole commands, each in its own process, and of the time that a training step spends outside the model."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import torch

from metarun.algorithms import MAML
from metarun.data import Omniglot
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.stream import StreamSpec
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from scripts.benchmark.case import Comparison, Duel, Limit, Peer, Setting, Targets
from scripts.benchmark.networks import Protocol, omniglot
from scripts.benchmark.timing import Clock, wait_for

ROOT = Path(__file__).parents[2]
TRAINING = Protocol(way=5, shot=1, query=1, steps=1, meta_batch=32)

# Ends the process after the first optimiser step, so that its wall time is the time to that step.
UNTIL_THE_FIRST_STEP = """
import os
from metarun.cli.main import entry
from metarun.system.imports import importing_torch
with importing_torch():  # as the command does
    from metarun.algorithms.outer_optimizer import OuterOptimizer
step = OuterOptimizer.step
OuterOptimizer.step = lambda optimizer: (step(optimizer), os._exit(0))
entry()
"""


def comparisons() -> dict[str, Comparison]:
    """Return the case with a peer, by name."""
    return {
        "whole_command": Comparison(
            "whole command: MAML, Omniglot 5w1s, 100 steps, 200 meta-val and 120 meta-test tasks, start-up included",
            Targets(2.8, 20),
            lambda setting: prepare_whole_command(*((10, 20, 12) if setting.short else (100, 200, 120)), setting),
            max_repeats=3,
        )
    }


def limits() -> dict[str, Limit]:
    """Return the cases without a peer, by name."""
    return {
        "help": Limit("metarun --help", Targets(0.3, 0.3), "s", of_command("--help")),
        "cfg_job": Limit("metarun train --cfg job", Targets(1.0, 1.0), "s", of_command("train", "--cfg", "job")),
        "train_help": Limit("metarun train --help", Targets(0.8, 0.8), "s", of_command("train", "--help")),
        "completion": Limit(
            "metarun train algo=<Tab>",
            Targets(0.3, 0.3),
            "s",
            of_command("-sc", "query=bash", COMP_LINE="metarun train algo="),
        ),
        "doctor": Limit("metarun doctor", Targets(2, 2), "s", of_command("doctor")),
        "compare": Limit(
            "metarun compare of the runs in results/reference",
            Targets(0.6, 0.6),
            "s",
            of_command("compare", str(ROOT / "results" / "reference")),
        ),
        "first_step": Limit(
            "time to the end of the first training step, Omniglot cached",
            Targets(2.5, 2.5),
            "s",
            seconds_to_first_step,
        ),
        "outside_model": Limit(
            "share of a MAML step outside the model: tasks, optimiser, bookkeeping",
            Targets(5, 5),
            "%",
            lambda setting, repeats: percent_outside_model(TRAINING, 3 if setting.short else repeats, setting),
        ),
    }


def command_line(*words: str) -> list[str]:
    """Return the command line for metarun with these arguments, in this Python."""
    return [sys.executable, "-m", "metarun", *words]


def run_quietly(command: list[str], folder: Path, clock: Clock = time.perf_counter, **variables: str) -> float:
    """Run a command in `folder`, with environment variables of its own; return its seconds."""
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads, **variables}
    begin = clock()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return clock() - begin


def of_command(*words: str, **variables: str) -> Callable[[Setting, int], list[float]]:
    """Return a function that measures the seconds of a command, with environment variables of its own."""

    def measure(setting: Setting, repeats: int) -> list[float]:
        def seconds() -> float:
            return run_quietly(command_line(*words), setting.folder, setting.clock, **variables)

        seconds()  # warms up
        return [seconds() for _ in range(repeats)]

    return measure


def data_words() -> list[str]:
    """Return the override for the data that `omniglot()` returns, or for built-in data in its place."""
    return ["data=omniglot"] if Omniglot().where() is not None else ["data=glyphs"]


def seconds_to_first_step(setting: Setting, repeats: int) -> list[float]:
    """Measure the seconds from the start of the process to the end of the first outer step."""
    words = ["train", "algo=maml", *data_words(), f"device={setting.device}", f"results_dir={setting.folder}/first"]
    command = [sys.executable, "-c", UNTIL_THE_FIRST_STEP, *words]

    def measure() -> float:
        seconds = run_quietly(command, setting.folder, setting.clock)
        shutil.rmtree(setting.folder / "first")  # else the next one would resume
        return seconds

    measure()
    return [measure() for _ in range(repeats)]


def prepare_whole_command(iterations: int, val_tasks: int, test_tasks: int, setting: Setting) -> Duel:
    """Prepare `metarun train` and a learn2learn script that does the same, each in its own process."""
    ours = command_line(
        *("train", "algo=maml", *data_words(), "task=5way1shot", "task.query=1", "force=true"),
        *("train.meta_batch=32", "algo.inner_lr=0.4", "algo.inner_steps=1", "test.steps=3"),
        *("backbone.downsample=stride", "backbone.norm=batch", "backbone.filters=64"),
        *(f"train.iterations={iterations}", f"train.validate_every={iterations}"),
        f"train.compile={'true' if setting.device.type == 'cpu' else 'false'}",  # as auto chooses for 500 steps
        *(f"train.validate_tasks={val_tasks}", f"test.tasks={test_tasks}"),
        *(f"device={setting.device}", f"results_dir={setting.folder}/whole"),
    )
    theirs = [
        *(sys.executable, "-m", "scripts.benchmark.learn2learn_script", data_words()[0].removeprefix("data=")),
        *map(str, (iterations, val_tasks, test_tasks, setting.device)),
    ]
    peer = Peer(
        lambda: run_quietly(theirs, ROOT),
        note=f"{iterations} of 500 steps, {test_tasks} of 600 tasks, not scaled; the peer's data in memory",
    )
    return Duel(lambda: run_quietly(ours, setting.folder), {"learn2learn": peer}, in_process=False)


def percent_outside_model(protocol: Protocol, repeats: int, setting: Setting) -> list[float]:
    """Measure, for each training step, the percentage of time outside meta-loss and gradient."""
    data = omniglot(real=not setting.short)
    tasks = ClassTaskStream(data, StreamSpec("train", protocol.shape, 0, setting.device, torch.float32))
    backbone = protocol.backbone()
    maml = MAML(backbone, protocol.way, inner_lr=0.1, inner_steps=protocol.steps).to(setting.device)
    schedule = Schedule(
        iterations=repeats + 2,
        time_budget=None,
        meta_batch=protocol.meta_batch,
        outer_lr=0.001,
        lr_decay=1.0,
        lr_decay_every=1000,
        clip_grad=None,
        validate_every=repeats + 2,
        validate_tasks=1,
        validate_steps=1,
    )
    training = Training(maml, schedule, tasks, tasks)
    inside = 0.0
    steps: list[tuple[float, float]] = []  # end of each step, and the seconds inside the model so far

    def timed(work: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def run(*arguments: object, **options: object) -> torch.Tensor:
            nonlocal inside
            wait_for(setting.device)
            begin = setting.clock()
            result = work(*arguments, **options)
            wait_for(setting.device)
            inside += setting.clock() - begin
            return result

        return run

    backward = torch.Tensor.backward
    with (
        patch.object(maml, "meta_loss", timed(maml.meta_loss)),
        patch.object(torch.Tensor, "backward", timed(backward)),
    ):
        training.run(_nothing, [], lambda: steps.append((setting.clock(), inside)))
    ends = steps[1 : repeats + 2]  # the first step warms up, the last call is after meta-val
    return [
        100 * (1 - (within - within_before) / (end - end_before))
        for (end_before, within_before), (end, within) in pairwise(ends)
    ]


def _nothing() -> None:
    pass
