"""What a person sees: a live bar on a terminal, plain lines anywhere else, and the row in the end."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from metarun.credentials import masked
from metarun.durations import format_duration
from metarun.observer import Look, Pace
from metarun.orphan import PARENT
from metarun.statistics import FEW_TASKS

log = logging.getLogger(__name__)
HEARTBEAT = 30  # seconds between two plain lines
HEARTBEAT_IN_A_SWEEP = 1  # seconds: they move the sweep's live table, and nobody reads them

SHOWN_STEPS = 12  # of a curve over more steps than that, evenly, from the first to the last


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
        regression: the figure is a squared error, not an accuracy.
    """

    def __init__(self, console: Console, regression: bool) -> None:
        self.console = console
        self.regression = regression
        self.best: str = "–"
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._in_a_sweep = PARENT in os.environ
        self._began = self._last_line = time.monotonic()

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Show a bar for one part of the work."""
        log.info("%s", title)
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
        self._show(pace.fraction, note, f"step {step}, {rate:.1f} a second, loss {loss:.4f}, about {left} left")

    def validated(self, look: Look) -> None:
        """Tell the figure on meta-val."""
        name = "mse" if self.regression else "accuracy"
        figure = f"{look.value:.4f}" if self.regression else f"{look.value:.2%}"
        self.best = figure if look.best else self.best
        best = " (best so far)" if look.best else ""
        log.info("step %s: meta-val %s %s%s", f"{look.iteration:,}", name, figure, best)
        self._last_line = time.monotonic()

    def judged(self, done: int, tasks: int) -> None:
        """Show how far meta-testing is."""
        note = f"{done:,} of {tasks:,} tasks"
        left = format_duration((time.monotonic() - self._began) * (tasks - done) / max(done, 1))
        self._show(done / tasks, note, f"{note}, about {left} left" if done else note)

    def _show(self, fraction: float, note: str, line: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=fraction, note=note)
            return
        if time.monotonic() - self._last_line > (HEARTBEAT_IN_A_SWEEP if self._in_a_sweep else HEARTBEAT):
            if self._in_a_sweep:
                self.console.print(line, highlight=False, soft_wrap=True)  # not worth a line of run.log
            else:
                log.info(line)
            self._last_line = time.monotonic()


class _ConsoleHandler(logging.Handler):
    """Log lines on the console, above a live bar if there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        self.console.print(record.getMessage(), style=style, highlight=False, markup=False, soft_wrap=True)


class _FileHandler(logging.Handler):
    """Log lines at the end of a file; one that cannot be written takes nothing down, and the console has it too."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self.format(record)}\n")


def _without_secrets(record: logging.LogRecord) -> bool:
    """A filter that lets everything pass, with `***` for passwords and tokens, such as one in a server's address."""
    record.msg, record.args = masked(record.getMessage()), ()
    return True


@contextmanager
def logging_to(path: Path, console: Console) -> Iterator[None]:
    """Within the block, what metarun logs goes to a run's log file, with the time, and to the console."""
    logger = logging.getLogger("metarun")
    handlers: list[logging.Handler] = [_FileHandler(path), _ConsoleHandler(console)]
    before = logger.level
    logger.setLevel(logging.INFO)
    for handler in handlers:
        handler.addFilter(_without_secrets)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(before)


class Best(str):
    """The text of a table's cell that stands out: the best of those that may be compared."""


def percent(fraction: float | None, digits: int = 2) -> str:
    """Write a fraction in percent, without the sign: the column says it."""
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}"


def figure(record: dict[str, Any]) -> str:
    """Write what a run is judged by, with its 95 % interval: "98.12 ± 0.21" in percent, or a squared error."""
    if "mse" in record:
        half = record.get("mse_ci95")
        return f"mse {record['mse']:.4f}" + ("" if half is None else f" ± {half:.4f}")
    half = record.get("accuracy_ci95")
    return percent(record.get("accuracy")) + ("" if half is None else f" ± {percent(half)}")


def summary(record: dict[str, Any]) -> Table:
    """Return one run's result as a table of two columns."""
    table = Table(title=escape(f"{record['algo']} on {record['data']}"), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    if "mse" in record:
        setting = f"{record['test_shot']} support points, {record['test_query']} query points"
    else:
        setting = f"{record['test_way']}-way {record['test_shot']}-shot, {record['test_query']} queries a class"
    if record.get("test_data", record["data"]) != record["data"]:
        setting += f", on {record['test_data']}"
    interval = f"over {record['test_tasks']:,} tasks, ± is the 95 % interval (Student t)"
    if record["test_tasks"] < FEW_TASKS:
        interval += f"; fewer than {FEW_TASKS} tasks say little"
    table.add_row("meta-test", setting)
    asked = record.get("steps_asked")
    if "mse" in record:
        table.add_row("squared error", f"{figure(record)[4:]}  {interval}")
        table.add_row("by step", _curve(record.get("mse_by_step", []), asked, lambda value: f"{value:.3f}"))
        if record.get("floor_mse") is not None:
            table.add_row("floor", f"{record['floor_mse']:.4f} (the mean of the support targets)")
    else:
        table.add_row("accuracy %", f"{figure(record)}  {interval}")
        table.add_row("by step", _curve(record.get("accuracy_by_step", []), asked, lambda value: percent(value, 1)))
        floor, chance = percent(record.get("floor_accuracy")), percent(record.get("chance"))
        table.add_row("floor, chance %", f"{floor} (nearest centroid of raw inputs, same tasks), {chance}")
    table.add_row("transductive", "yes: queries see each other" if record["transductive"] else "no")
    if seen := record.get("duplicates_across_splits"):
        table.add_row("seen before", f"examples in more than one split: {seen:,}; meta-test is not all new")
    if record.get("figures_seen", 1) > 1:
        told = f"meta-test looked at {record['looks']} times, with {record['figures_seen']} figures in this setting"
        table.add_row("looks", told)
    if "audit" in record:
        table.add_row("audit", _audit(record["audit"]))
    table.add_row("adapting", f"{record['adapt_ms']:.1f} ms a task on {record['device']}")
    numbers = "" if record.get("precision", "float32") == "float32" else f", in {record['precision']}"
    trained = f"{record['iterations']:,} steps, {format_duration(record['train_seconds'])}"
    table.add_row("meta-training", trained + numbers)
    return table


def _audit(audit: dict[str, Any]) -> str:
    """Say what predicting every query by itself changed."""
    asked = f"{audit['queries']:,} queries of {audit['tasks']} tasks, each predicted by itself"
    if audit["flipped"] is None:
        return f"{audit['changed']:,} of {asked}, change; mse {audit['together']:.4f} → {audit['alone']:.4f}"
    accuracy = f"accuracy {percent(audit['together'], 1)} → {percent(audit['alone'], 1)}"
    return f"{audit['changed']:,} of {asked}, change, {audit['flipped']:,} of them to another class; {accuracy}"


def _curve(values: list[float], asked: int | None, write: Any) -> str:
    """Write a figure by step; `asked` is how many steps there might have been, None in rows that do not say so."""
    if len(values) == 1:
        why = {None: "no steps", 0: "no steps were asked for, test.steps=0"}.get(asked, "this method takes no steps")
        return f"{write(values[0])} ({why})"
    if len(values) > SHOWN_STEPS:  # result.json has them all
        apart = (len(values) - 1) / (SHOWN_STEPS - 1)
        values = [values[round(i * apart)] for i in range(SHOWN_STEPS)]
    return " → ".join(write(value) for value in values)
