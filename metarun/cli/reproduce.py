"""`metarun reproduce NAME…`: repeat published results in full and say whether they agree."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from metarun.cli.parser import CommandParser
from metarun.errors import UserError, counted, did_you_mean
from metarun.reporting.reference.experiments import Experiment, experiments, stored_runs
from metarun.reporting.reference.keep import keep
from metarun.reporting.reference.protocols import protocols
from metarun.reporting.reference.tables import PROTOCOL, RESULTS, Stored, curve, finished, protocol_rows, result_rows
from metarun.reporting.reference.verdicts import Verdict, verdicts
from metarun.reporting.tables.render import print_table
from metarun.results.metrics import metric_of
from metarun.results.records import KEPT
from metarun.system.signals import PARENT

EXAMPLES = """examples:
  metarun reproduce --list                                 the experiments, how long each takes, what is done
  metarun reproduce maml_sinusoid_5points                  train to the end, then the verdict
  metarun reproduce maml_sinusoid_5points --seeds 3        with seeds 0, 1 and 2
  metarun reproduce protonet_omniglot_5w1s maml_omniglot_5w1s      one after another, overnight
  metarun reproduce --protocol maml_omniglot               paper, released code and metarun, line by line
  metarun reproduce --table --format md                    published figures and ours, from the rows that were kept

The same command resumes after an interruption and runs what is missing. Exit code: 0 if every figure is within
the published interval or better, 1 if one is worse or undecided, or a run failed."""


def main(args: Sequence[str]) -> int:
    """Run the experiments that are missing, print the verdicts and return the exit code."""
    parser = CommandParser.with_examples("metarun reproduce", "Repeat published results and compare.", EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help="an experiment; --list shows all")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="show the experiments, how long each takes and what is done")
    what.add_argument("--table", action="store_true", help="print published figures and ours, from the kept rows")
    what.add_argument("--protocol", metavar="RECIPE", help="print a protocol line by line")
    parser.add_argument("--seeds", type=int, default=1, help="number of trainings: seeds 0, 1, … (default: 1)")
    parser.add_argument(
        "--keep", action="store_true", help="copy rows and curves, not weights, to RESULTS_DIR/reference"
    )
    parser.add_argument("--format", choices=("table", "md"), default="table", help="format of --table and --protocol")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="default: results")
    options = parser.parse_args(args)
    if options.protocol:
        return _print_protocol(options.protocol, options.format)
    chosen = [_experiment(name) for name in options.names]
    if options.table:
        return _print_table(chosen or [*experiments().values()], options.results_dir, options.format)
    if options.list:
        return _print_list(chosen or [*experiments().values()], options.results_dir)
    if not chosen:
        raise UserError("metarun reproduce needs an experiment", "`metarun reproduce --list` shows them.")
    if options.seeds < 1:
        raise UserError(f"--seeds {options.seeds} is not at least 1", "use --seeds 1 or more.")
    worst = 0
    for number, experiment in enumerate(chosen, 1):
        of_all = f" ({number} of {len(chosen)})" if len(chosen) > 1 else ""
        try:
            worst = max(worst, _reproduce(experiment, options.seeds, options.keep, options.results_dir, of_all))
        except KeyboardInterrupt:
            print(f"stopped; `metarun reproduce {' '.join(args)}` resumes.", flush=True)
            raise
    return worst


def _experiment(name: str) -> Experiment:
    if name not in experiments():
        hint = did_you_mean(name, experiments())
        raise UserError(f"there is no experiment {name!r}", f"`metarun reproduce --list` shows all.{hint}")
    return experiments()[name]


def _reproduce(experiment: Experiment, seeds: int, keeps: bool, results_dir: Path, of_all: str) -> int:
    """Train and test what is missing and print the verdict; return the exit code."""
    failed = False
    for seed in range(seeds):
        print(f"{experiment.name}, seed {seed}{of_all}", flush=True)
        for command, overrides in _commands(experiment, seed, results_dir):
            code = _run([command, *overrides, f"results_dir={results_dir}"])
            if code > 128 or code < 0:
                raise KeyboardInterrupt
            failed = failed or code > 0
    stored = stored_runs(results_dir / "runs")
    if keeps:
        for seedless in dict.fromkeys((experiment.training.seedless, experiment.seedless)):
            for run in stored.get(seedless, ()):
                print(f"→ {keep(run.directory, results_dir / KEPT)}")
    return max(int(failed), _print_verdict(experiment, stored))


def _commands(experiment: Experiment, seed: int, results_dir: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the training, and once it is finished the test where the paper tests the weights of another experiment."""
    yield "train", [f"experiment={experiment.training.name}", f"seed={seed}"]
    if experiment.trained_as is not None:
        for run in stored_runs(results_dir / "runs").get(experiment.training.seedless, ()):
            if run.is_done and run.config["seed"] == seed:
                yield "test", [f"run={run.directory.id}", *experiment.test]


def _run(arguments: Sequence[str]) -> int:
    """Run a command of metarun in a process of its own, which uses this terminal and ends with this process."""
    command = [sys.executable, "-m", "metarun", *arguments]
    process = subprocess.Popen(command, env={**os.environ, PARENT: str(os.getpid())})
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal sent it to both; training saves and ends
            continue


def _print_verdict(experiment: Experiment, stored: Stored) -> int:
    runs = stored.get(experiment.seedless, ())
    records = finished(runs)
    if not records:
        print(f"{experiment.name}: no run is finished, so there is no verdict.", file=sys.stderr)
        return 1
    found = verdicts(experiment, records)
    metric = metric_of(records[0])
    if not found:
        ours, floor = (metric.fixed(records[0].get(key)) for key in (metric.key, metric.floor))
        print(f"{experiment.name}: {ours} (floor {floor}); nothing published to compare with.")
        return 0
    rows = [["" if v.step is None else f"{v.step}", v.published_text, v.ours_text, v.text] for v in found]
    print_table(["steps", "published", "ours", "verdict"], rows, _notes(experiment, stored, found), "table")
    return int(any(verdict.word in ("worse", "undecided") for verdict in found))


def _notes(experiment: Experiment, stored: Stored, found: Sequence[Verdict]) -> list[str]:
    published, seeds = experiment.published or {}, len(finished(stored[experiment.seedless]))
    trained = stored.get(experiment.training.seedless, ())
    notes = [
        f"published: {published['source']}" + ("" if published["ci95"] else ", without an interval") + ".",
        f"± of ours: 95 % interval over tasks{' and trainings' if seeds > 1 else ''}, {counted(seeds, 'seed')}. "
        "within: the difference is no larger than both intervals allow.",
    ]
    if any(verdict.word == "undecided" for verdict in found):
        notes.append("undecided: the half-width of the interval is larger than the published figure.")
    if experiment.trained_as is not None:
        notes.append(f"The weights are those of {experiment.trained_as}, as in the paper.")
    if experiment.found:
        notes.append(experiment.found)
    if trained and experiment.protocol and (differences := experiment.protocol.differences(trained[0].config)):
        notes += ["What differs from the paper:", *(f"- {each}" for each in differences)]
    return notes


def _print_list(chosen: Sequence[Experiment], results_dir: Path) -> int:
    here, kept = stored_runs(results_dir / "runs"), stored_runs(results_dir / KEPT)
    rows = []
    for experiment in chosen:
        figure = "–" if experiment.published is None else _published(experiment)
        hours = f"{experiment.hours:.2g}" if experiment.hours else "?"
        rows.append([experiment.name, figure, hours, _state(experiment, here), _state(experiment, kept)])
    notes = [
        "hours: for one training on an otherwise idle machine, measured or estimated.",
        f"here: {results_dir / 'runs'}; kept: {results_dir / KEPT}.",
    ]
    print_table(["experiment", "published", "hours", "here", "kept"], rows, notes, "table")
    return 0


def _published(experiment: Experiment) -> str:
    figure = experiment.figure or 0.0
    is_mse = (experiment.published or {}).get("mse") is not None
    return f"mse {figure:g}" if is_mse else f"{100 * figure:.4g} %"


def _state(experiment: Experiment, stored: Stored) -> str:
    runs = stored.get(experiment.seedless, ())
    if records := finished(runs):
        found = verdicts(experiment, records)
        return f"{counted(len(records), 'seed')}: {found[-1].text if found else 'done'}"
    runs = runs or stored.get(experiment.training.seedless, ())
    if not runs:
        return "–"
    if runs[0].is_done:
        return "100% trained"
    if runs[0].record is not None:
        return "failed"
    steps = curve(runs[0]).steps
    return f"{(steps[-1] if steps else 0) / runs[0].config['train']['iterations']:.0%} trained"


def _print_table(chosen: Sequence[Experiment], results_dir: Path, form: str) -> int:
    rows = result_rows(chosen, stored_runs(results_dir / KEPT))
    if not rows:
        raise UserError(f"there are no rows in {results_dir / KEPT}", "`metarun reproduce NAME --keep` adds some.")
    print_table(RESULTS, rows, [], form)
    return 0


def _print_protocol(name: str, form: str) -> int:
    if name not in protocols():
        hint = did_you_mean(name, protocols())
        raise UserError(f"there is no protocol of {name!r}", f"choose one of {', '.join(protocols())}.{hint}")
    protocol = protocols()[name]
    print_table(PROTOCOL, protocol_rows(protocol), [f"{protocol.paper}; {protocol.code}. {protocol.read}."], form)
    return 0
