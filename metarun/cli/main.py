"""Entry point of `metarun`: dispatch to a command and turn errors into an exit code.

Nothing heavy is imported before the command is known: help and unknown commands answer in tens of milliseconds.
"""

import importlib
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import metarun
from metarun.cli.first_words import say
from metarun.cli.help_width import fit

COMMANDS = {
    "train": "meta-train, choose a checkpoint on meta-val, meta-test it once",
    "test": "meta-test a finished run on other task sizes, splits or data",
    "rerun": "repeat a finished run and check that it reproduces its numbers",
    "reproduce": "repeat published results in full and say whether they agree",
    "adapt": "adapt a finished run to a few labelled examples of yours",
    "predict": "predict new examples with an adapted run",
    "export": "write a finished run as ONNX, torch.export, TensorFlow or LiteRT",
    "publish": "pack a finished run into one file for another machine",
    "import": "unpack a file of `metarun publish` as a run",
    "runs": "list runs with their state: finished, running, interrupted, failed",
    "rm": "move runs to the bin",
    "diff": "show how two runs differ in config, environment and results",
    "compare": "compare all runs in a table",
    "report": "write one HTML page of all runs: table, curves, example tasks",
    "plot": "draw figures for papers: curves, heatmaps over task sizes, tasks",
    "data": "list, get and check data sets",
    "doctor": "show versions, device, available data sets, and problems to fix",
}

MODULES = {"import": "import_run"}  # `import` cannot be a module's name; all others are named after their command

HELP = f"""\
metarun {metarun.__version__}: an experiment runner for meta-learning.

usage: metarun COMMAND [key=value ...] [flags]

commands:
{chr(10).join(f"  {name:10}{description}" for name, description in COMMANDS.items())}

examples:
  metarun train algo=maml                                    built-in data, a few minutes
  metarun train algo=protonet data=omniglot task=20way5shot  uses the paper's hyper-parameters
  metarun train -m algo=maml,protonet task.shot=1,5          a sweep: four runs
  metarun train algo=maml --cfg job                          the config, without running it
  metarun test run=RUN task.way=20 task.shot=5               a finished run on other tasks
  metarun rerun RUN                                          can the numbers of a finished run be reproduced?
  metarun reproduce maml_sinusoid_5points                    a published result in full, with a verdict
  metarun adapt run=RUN support=my_letters                   a few pictures of yours, one folder per class
  metarun predict learner.npz new_pictures                   the classes of new pictures
  metarun export run=RUN format=onnx                         a model that other programs load
  metarun publish run=RUN                                    one file, for `metarun import` on another machine
  metarun compare                                            a row per configuration, over its seeds
  metarun report                                             the same with curves and example tasks, report.html
  metarun plot curve -o curve.pdf                            every run, one line each
  metarun data list                                          the available data sets

`metarun COMMAND --help` shows more. For tab completion: eval "$(metarun -sc install=bash)", or install=zsh;
in fish, `metarun -sc install=fish | source`.
"""


def entry() -> NoReturn:
    """Run the command line and exit; after a signal, exit at once without the second that torch needs to clean up."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "±" shows "?"
    code = main()
    if code > 128:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main() -> int:
    """Run the command line in `sys.argv`; return its exit code: 0, 1 (failed), 2 (user error), or 128 + signal."""
    args = sys.argv[1:]
    sys.argv = ["metarun", *args]  # also for `python -m metarun`: completion is registered under this name
    try:
        code = _run_until_exit(args)
        sys.stdout.flush()  # here, where a broken pipe can still be handled quietly
    except (Exception, KeyboardInterrupt) as error:
        from metarun.cli.errors import report

        return report(error)
    return code


def _run_until_exit(args: list[str]) -> int:
    try:
        return run_command(args)
    except SystemExit as stop:  # --help of argparse
        if isinstance(stop.__context__, BrokenPipeError):  # rich exits with 1, which is the code of a failure
            raise stop.__context__ from None
        return stop.code if isinstance(stop.code, int) else 0


def run_command(args: list[str]) -> int:
    """Run the command `args[0]` with the remaining arguments; return its exit code.

    Raises:
        UserError: the command is unknown, or it cannot be carried out.
    """
    command, rest = (args[0], args[1:]) if args else ("--help", [])
    if command == "help" and rest:
        return run_command([*rest, "--help"])
    if command in ("--help", "-h", "help"):
        sys.stdout.write(fit(HELP))
    elif command in ("--version", "-V", "version"):
        sys.stdout.write(f"metarun {metarun.__version__}\n")
    elif command in ("-sc", "--shell-completion"):
        from metarun.cli.completion import complete

        return complete(rest, COMMANDS)
    elif command in ("train", "test") and {"--help", "-h"} & set(rest):
        from metarun.cli.config_help import explain

        print(explain(command, rest))
    elif command in ("train", "test"):
        if not {"--cfg", "-c", "--info", "-i", "-sc"} & set(rest):
            say("reading the config …")
        from metarun.cli.hydra_app import run_under_hydra

        return run_under_hydra(command, rest)
    elif command in COMMANDS:
        main: Callable[[list[str]], int] = importlib.import_module(f"metarun.cli.{MODULES.get(command, command)}").main
        return main(rest)
    else:
        from metarun.errors import UserError, did_you_mean

        hint = did_you_mean(command, COMMANDS)
        raise UserError(f"unknown command {command!r}.{hint} Commands: {', '.join(COMMANDS)}.")
    return 0
