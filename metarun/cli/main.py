"""The command `metarun`: finds the verb, hands it its words, and turns what went wrong into an exit code.

Nothing heavy is imported before the verb is known: help and mistyped verbs answer in tens of milliseconds.
"""

import importlib
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import metarun

VERBS = {
    "train": "meta-train, choose on meta-val, meta-test once, write one row",
    "test": "meta-test a finished run on other task sizes, splits or data",
    "rerun": "repeat a finished run and say whether its numbers are the same",
    "compare": "a table of all runs",
    "report": "one page of all runs: table, curves, example tasks",
    "plot": "figures for papers: adaptation curves, heatmaps over task sizes, tasks",
    "data": "list, get and check data sets",
    "doctor": "versions, device, which data sets are here, and what to mend",
}

HELP = f"""\
metarun {metarun.__version__}: an experiment runner for meta-learning.

usage: metarun VERB [key=value ...] [flags]

verbs:
{chr(10).join(f"  {verb:9}{what}" for verb, what in VERBS.items())}

examples:
  metarun train algo=maml                                    built-in data, a few minutes
  metarun train algo=protonet data=omniglot task=20way5shot  the paper's hyper-parameters come by themselves
  metarun train -m algo=maml,protonet task.shot=1,5          a sweep: four runs
  metarun train algo=maml --cfg job                          the config, without running it
  metarun test run=RUN task.way=20 task.shot=5               a finished run on other tasks
  metarun rerun RUN                                          does a finished run come to the same numbers again?
  metarun compare                                            every run, one row each
  metarun report                                             the same with curves and example tasks, report.html
  metarun plot curve -o curve.pdf                            every run, one line each
  metarun data list                                          what there is to learn from

`metarun VERB --help` tells more. Tab completion: eval "$(metarun -sc install=bash)", the same with zsh;
`metarun -sc install=fish | source` for fish.
"""


def entry() -> NoReturn:
    """Run the command line and leave; after a signal at once, without the second that torch takes to tidy up."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks "±" shows "?"
    code = main()
    if code > 128:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main() -> int:
    """Run the command line in `sys.argv`; return its exit code: 0, 1 (failed), 2 (a user's mistake), 128 + signal."""
    words = sys.argv[1:]
    sys.argv = ["metarun", *words]  # also for `python -m metarun`: completion is registered under this name
    try:
        code = _run_to_its_end(words)
        sys.stdout.flush()  # here, where a reader that left can still be answered quietly
    except (Exception, KeyboardInterrupt) as error:
        from metarun.cli.errors import report

        return report(error)
    return code


def _run_to_its_end(words: list[str]) -> int:
    try:
        return run_verb(words)
    except SystemExit as stop:  # --help of the parsers below
        return stop.code if isinstance(stop.code, int) else 0


def run_verb(words: list[str]) -> int:
    """Run the verb that is the first of `words` with the others; return its exit code.

    Raises:
        UserError: there is no such verb.
    """
    verb, rest = (words[0], words[1:]) if words else ("--help", [])
    if verb in ("--help", "-h", "help"):
        sys.stdout.write(HELP)
    elif verb == "--version":
        sys.stdout.write(f"metarun {metarun.__version__}\n")
    elif verb in ("-sc", "--shell-completion"):
        from metarun.cli.completion import complete

        return complete(rest, VERBS)
    elif verb in ("train", "test"):
        from metarun.cli.hydra_app import run_under_hydra

        return run_under_hydra(verb, rest)
    elif verb in VERBS:
        main: Callable[[list[str]], int] = importlib.import_module(f"metarun.cli.{verb}").main
        return main(rest)
    else:
        from metarun.errors import UserError, did_you_mean

        raise UserError(f"there is no verb {verb!r}.{did_you_mean(verb, VERBS)} The verbs are {', '.join(VERBS)}.")
    return 0
