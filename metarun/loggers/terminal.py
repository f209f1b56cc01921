"""Show the progress of a run: a progress bar on a terminal, plain lines elsewhere."""

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar

from metarun.loggers.observer import TrainingProgress, Validation
from metarun.results.metrics import Metric
from metarun.system.durations import format_duration
from metarun.system.events import emit, in_sweep

log = logging.getLogger(__name__)
HEARTBEAT = 30  # seconds between plain lines
HEARTBEAT_IN_A_SWEEP = 1  # seconds between events, which update the sweep's live table


class RobustConsole(Console):
    """A console that stops printing, instead of raising, when its output can no longer be written.

    The pipe may close (`metarun train … | head`) or the disk may be full (`metarun train … > log`).
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """See `Console.print`."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.on_broken_pipe()
            print(f"metarun: cannot print any more ({error.strerror}); the run continues.", file=sys.stderr)

    def on_broken_pipe(self) -> None:
        """Redirect stdout to /dev/null."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _MovingBar(BarColumn):
    """A bar that moves between two updates as fast as it did before them."""

    def render(self, task: Task) -> ProgressBar:
        """See `BarColumn.render`."""
        bar = super().render(task)
        since = task.get_time() - task.fields["updated"]
        bar.completed = min(task.total or 0, task.completed + since * (task.speed or 0))
        return bar


class Screen:
    """Shows the progress of training and meta-testing, by a bar on a terminal; an `Observer`. Meta-val has `metric`."""

    def __init__(self, console: Console, metric: Metric) -> None:
        self.console = console
        self.metric = metric
        self.best: str = "–"
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._started = self._last_line = time.monotonic()

    @contextmanager
    def phase(self, phase: str, title: str) -> Iterator[None]:
        """Show a bar for one phase: training, testing or auditing."""
        log.info("%s", title)
        emit("phase", phase=phase, said=title)
        self._started = self._last_line = time.monotonic()
        if not self.console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            _MovingBar(bar_width=None),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self.console, transient=True, expand=True) as self._bar:
            self._task = self._bar.add_task(phase, total=1.0, note="", updated=self._bar.get_time())
            yield
        self._bar = None

    def close(self) -> None:
        """Remove the bar and restore the terminal; may be called from any thread."""
        if self._bar is not None:
            self._bar.stop()

    def on_progress(self, progress: TrainingProgress) -> None:
        """Show the step, speed, loss and time left of meta-training."""
        rate = progress.iteration / progress.seconds
        left = format_duration(progress.seconds * (1 - progress.fraction) / progress.fraction)
        note = f"{progress.step} · {rate:.1f}/s · loss {progress.loss:.3f} · meta-val {self.best}"
        line = f"step {progress.step}, {rate:.1f} steps/s, loss {progress.loss:.4f}, about {left} left"
        self._show(progress.fraction, note, line, {"step": progress.step, "left": left})

    def on_validation(self, validation: Validation) -> None:
        """Print the result on meta-val."""
        if validation.diverged:
            log.warning("%s", message := self._diverged(validation))
            emit("diverged", said=message)
        self._last_line = time.monotonic()
        if not validation.candidate or validation.value is None:
            return
        metric = self.metric
        figure = metric.text(validation.value) + metric.unit
        self.best = figure if validation.best else self.best
        best = " (best so far)" if validation.best else ""
        message = f"step {validation.iteration:,}: meta-val {metric.key} {figure}{best}"
        log.info("%s", message)
        value, shown = validation.value, metric.prefix + figure
        score = metric.score(value)
        emit("validated", step=validation.iteration, score=score, value=value, figure=shown, said=message)

    def _diverged(self, validation: Validation) -> str:
        diverged = f"{validation.diverged:,} of {validation.tasks:,} meta-val tasks diverged"
        message = f"{diverged} at step {validation.iteration:,}"
        if validation.candidate:
            return f"{message}: their queries without a finite prediction count as wrong"
        message += ": this checkpoint cannot be selected"
        if validation.value is None or self.metric.counts_diverged:
            return message
        text = self.metric.text
        median = "" if validation.median is None else f", the median over all tasks {text(validation.median)}"
        return f"{message}; the {self.metric.key} over the other tasks is {text(validation.value)}{median}"

    def on_test_progress(self, done: int, tasks: int) -> None:
        """Show the number of meta-test tasks that are done."""
        note = f"{done:,}/{tasks:,} tasks"
        left = format_duration((time.monotonic() - self._started) * (tasks - done) / max(done, 1))
        self._show(done / tasks, note, f"{note}, about {left} left" if done else note, {"left": left if done else ""})

    def _show(self, fraction: float, note: str, line: str, progress: Mapping[str, str]) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=fraction, note=note, updated=self._bar.get_time())
            return
        if time.monotonic() - self._last_line > (HEARTBEAT_IN_A_SWEEP if in_sweep() else HEARTBEAT):
            if in_sweep():
                emit("progress", **progress)
            else:
                log.info(line)
            self._last_line = time.monotonic()
