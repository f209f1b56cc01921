"""What a person sees: a live bar on a terminal, plain lines anywhere else."""

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from metarun.loggers.observer import Look, Pace
from metarun.results.metrics import Metric
from metarun.system.durations import format_duration
from metarun.system.events import emit, in_sweep

log = logging.getLogger(__name__)
HEARTBEAT = 30  # seconds between two plain lines
HEARTBEAT_IN_A_SWEEP = 1  # seconds between two events, which move the sweep's live table


class SteadyConsole(Console):
    """A console that goes quiet, not down, when nobody takes what it prints: the run goes on.

    Its reader may leave (`metarun train … | head`), the disk may be full (`metarun train … > log`).
    """

    def print(self, *objects: Any, **how: Any) -> None:
        """See `Console.print`."""
        try:
            super().print(*objects, **how)
        except OSError as error:
            self.on_broken_pipe()
            print(f"metarun: nothing more is printed ({error.strerror}); the run goes on.", file=sys.stderr)

    def on_broken_pipe(self) -> None:
        """Write to nowhere from here on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Screen:
    """Tells how a run goes: implements the observer that training and meta-testing report to.

    Args:
        console: where to; a live bar if it is a terminal.
        metric: what meta-val is judged by.
    """

    def __init__(self, console: Console, metric: Metric) -> None:
        self.console = console
        self.metric = metric
        self.best: str = "–"
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._began = self._last_line = time.monotonic()

    @contextmanager
    def phase(self, phase: str, title: str) -> Iterator[None]:
        """Show a bar for one part of the work: training, testing or auditing."""
        log.info("%s", title)
        emit("phase", phase=phase, said=title)
        self._began = self._last_line = time.monotonic()
        if not self.console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self.console, transient=True) as self._bar:
            self._task = self._bar.add_task(title, total=1.0, note="")
            yield
        self._bar = None

    def close(self) -> None:
        """Take the bar away, from whatever thread, and leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def trained(self, pace: Pace) -> None:
        """Show the pace of meta-training."""
        step, rate, loss = f"{pace.iteration:,}", pace.iteration / pace.seconds, pace.loss
        left = format_duration(pace.seconds * (1 - pace.fraction) / pace.fraction)
        note = f"step {step} · {rate:.1f}/s · loss {loss:.3f} · val {self.best}"
        line = f"step {step}, {rate:.1f} a second, loss {loss:.4f}, about {left} left"
        self._show(pace.fraction, note, line, {"step": step, "left": left})

    def validated(self, look: Look) -> None:
        """Tell the figure on meta-val."""
        if look.diverged:
            log.warning("%s", said := self._diverged(look))
            emit("diverged", said=said)
        self._last_line = time.monotonic()
        if not look.candidate or look.value is None:
            return
        metric = self.metric
        figure = metric.text(look.value) + metric.unit
        self.best = figure if look.best else self.best
        best = " (best so far)" if look.best else ""
        said = f"step {look.iteration:,}: meta-val {metric.key} {figure}{best}"
        log.info("%s", said)
        score, shown = metric.score(look.value), metric.prefix + figure
        emit("validated", step=look.iteration, score=score, figure=shown, said=said)

    def _diverged(self, look: Look) -> str:
        told = f"{look.diverged:,} of {look.tasks:,} meta-val tasks diverged at step {look.iteration:,}"
        if look.candidate:
            return f"{told}: their queries without a finite prediction count as wrong"
        told += ": no candidate for the best checkpoint"
        if look.value is None or self.metric.counts_diverged:
            return told
        median = "" if look.median is None else f", the median of all {self.metric.text(look.median)}"
        return f"{told}; the {self.metric.key} of the others is {self.metric.text(look.value)}{median}"

    def judged(self, done: int, tasks: int) -> None:
        """Show how far meta-testing is."""
        note = f"{done:,} of {tasks:,} tasks"
        left = format_duration((time.monotonic() - self._began) * (tasks - done) / max(done, 1))
        self._show(done / tasks, note, f"{note}, about {left} left" if done else note, {"left": left if done else ""})

    def _show(self, fraction: float, note: str, line: str, progress: Mapping[str, str]) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=fraction, note=note)
            return
        if time.monotonic() - self._last_line > (HEARTBEAT_IN_A_SWEEP if in_sweep() else HEARTBEAT):
            if in_sweep():
                emit("progress", **progress)
            else:
                log.info(line)
            self._last_line = time.monotonic()
