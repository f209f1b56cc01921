"""`metarun adapt`: adapt a finished run to a few examples of your own, for `metarun predict`."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.cli.output import named_by_flag
from metarun.cli.parser import CommandParser
from metarun.cli.settings import read_settings
from metarun.cli.trust import TRUST_HELP, split_trust
from metarun.errors import UserError, counted
from metarun.system.imports import importing_torch
from metarun.system.progress import OnProgress

if TYPE_CHECKING:
    from metarun.api import Learner
    from metarun.api.own_support import Fit
    from metarun.data.own.found import Examples

EXAMPLES = """examples:
  metarun adapt run=RUN support=my_letters                 one folder per class, a few pictures in each
  metarun adapt run=RUN support=my_letters -o letters.npz
  metarun predict letters.npz new_pictures
  metarun adapt run=RUN support=questions.csv              texts or rows of a table, with a column of classes
Files are read as the run's data are: pictures, recordings, texts or rows."""
_SHOWN_STEPS = 6  # of a long adaptation


def main(args: Sequence[str]) -> int:
    """Adapt, write the learner, and return the exit code."""
    parser = CommandParser.with_examples(
        "metarun adapt", "Adapt a finished run to a few labelled examples of your own.", EXAMPLES
    )
    add_settings(parser, "run=… support=…")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where the run is (default: results)")
    parser.add_argument("-o", "--output", type=Path, default=Path("learner.npz"), help="default: learner.npz")
    words, trust = split_trust(args)
    options = parser.parse_intermixed_args(words)
    settings = read_settings(options.settings, ("run", "support"), "adapt")
    learner, _ = adapt(settings["run"], Path(settings["support"]), options, trust)
    with named_by_flag():
        learner.save(options.output)
    print(f"→ {options.output} ({options.output.stat().st_size / 1000:.0f} kB)")
    return 0


def add_settings(parser: CommandParser, metavar: str) -> None:
    """Add `key=value` arguments and the flags that `adapt` and `predict` share."""
    parser.add_argument("settings", nargs="*", metavar=metavar, help=TRUST_HELP)
    parser.add_argument("--steps", type=int, help="adaptation steps (default: as in the run's meta-test)")
    parser.add_argument("--invert", action="store_true", help="swap light and dark of your pictures")


def adapt(run: str, support: Path, options: argparse.Namespace, trust: Sequence[str]) -> "tuple[Learner, Examples]":
    """Adapt a run to the examples of a folder or table and print what was learned; return the learner and them."""
    with importing_torch():
        from metarun.api.run import load
    from metarun.data.own.examples import support_of

    found = load(run, options.results_dir or Path("results"), trust)
    examples = found.read(support, options.invert, progress(f"reading {support}"))
    if examples.skipped:
        print(f"{support}: {examples.skipped}", file=sys.stderr)
    x, y = support_of(examples, support)
    found.adapt(x, y, 1).predict(x[:1])  # loads the network, and what torch imports for its first gradient
    start = time.perf_counter()
    learner = found.adapt(x, y, options.steps)
    learner.predict(x[:1])  # adapts, if that is not done yet
    seconds = time.perf_counter() - start
    fits = learner.fit()
    if options.steps and len(fits) == 1:
        raise UserError(f"--steps {options.steps} but {found.result['algo']} takes no steps", "omit it.")
    to = f"{_sizes(examples)} in {1000 * seconds:.0f} ms"
    print(f"{found.result['algo']} {found.id} adapted to {to}")
    print(f"support set: {_curve(fits)}")
    if learner.classes:
        print(_leave_one_out(learner, examples.noun))
    return learner, examples


def progress(what: str) -> OnProgress:
    """Return a function that shows the progress of a long operation on a terminal; elsewhere it does nothing."""
    if not sys.stderr.isatty():
        return lambda done, of: None  # noqa: ARG005
    started = shown = time.monotonic()

    def show(done: int, of: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - started > 1 and (now - shown > 0.2 or done == of):
            shown = now
            end = "\r\033[K" if done == of else ""
            print(f"\r{what}: {done:,} of {of:,}{end}", end="", file=sys.stderr, flush=True)

    return show


def _sizes(examples: "Examples") -> str:
    """Return "3 classes of 5 pictures"."""
    if examples.targets is not None:
        return counted(len(examples.values), examples.noun)
    sizes = sorted(Counter(examples.labels).values())
    least = f"{sizes[0]} to " if sizes[0] != sizes[-1] else ""
    return f"{counted(len(sizes), 'class')} of {least}{counted(sizes[-1], examples.noun)}"


def _curve(fits: "Sequence[Fit]") -> str:
    """Return the loss and the accuracy of the support set by step, of a few steps if there are many."""
    last = len(fits) - 1
    steps = sorted({round(last * i / (_SHOWN_STEPS - 1)) for i in range(_SHOWN_STEPS)})
    shown = [f"loss {' → '.join(f'{fits[step].loss:.3g}' for step in steps)}"]
    if fits[0].accuracy is not None:
        shown.insert(0, f"accuracy {' → '.join(f'{100 * (fits[step].accuracy or 0):.1f}' for step in steps)} %")
    by_step = f" after {', '.join(map(str, steps))} steps" if last else ""
    return ", ".join(shown) + by_step


def _leave_one_out(learner: "Learner", noun: str) -> str:
    check = learner.leave_one_out()
    if check is None:
        return f"leave-one-out needs a class of two {noun}s, so no query is unknown"
    return (
        f"leave-one-out on the support set: {100 * check.accuracy:.1f} % of {check.examples} correct; "
        "a query is unknown if its best score is below all of these"
    )
