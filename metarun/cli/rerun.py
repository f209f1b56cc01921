"""`metarun rerun RUN`: repeat a finished run and check that its numbers are reproduced bit for bit."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.cli.parser import CommandParser
from metarun.cli.trust import TRUST_HELP, split_trust
from metarun.errors import UserError
from metarun.reporting.tables.render import print_table
from metarun.results.bitwise_diff import Difference, Numbers, compare_numbers, read_numbers
from metarun.results.find_run import find_run
from metarun.results.provenance import CHANGES_NUMBERS, PLACE, compare_environments
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory

TEST_KEYS = {"run", "task", "test", "train", "chosen", "algo", "data"}  # required in a config of `metarun test`

EXAMPLES = """examples:
  metarun rerun 3f2a                                   a run of `metarun train` or `metarun test`, by its id
  metarun rerun results/runs/maml-glyphs-5w1s-3f2a91c4 --device cpu

exit code: 0 if all numbers are the same, 1 if any differ. A rerun that differs is kept in reruns/."""


def main(args: Sequence[str]) -> int:
    """Repeat the run, compare, and return the exit code: 0 if all numbers are the same, else 1."""
    parser = CommandParser.with_examples(
        "metarun rerun", "Repeat a finished run and check that its numbers are reproduced bit for bit.", EXAMPLES
    )
    named = "a run's directory, the first characters of its id, last or best"
    parser.add_argument("run", metavar="RUN", help=f"{named}; {TRUST_HELP}")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where the run is (default: results)")
    parser.add_argument("--into", type=Path, default=Path("reruns"), help="where to repeat it (default: reruns)")
    parser.add_argument("--device", help="default: the device of the run")
    words, trust = split_trust(args)
    options = parser.parse_args(words)
    run = find_run(options.results_dir, options.run)
    before = read_numbers(run)
    record = run.read_result() or {}
    if options.into.resolve() in run.path.resolve().parents:
        raise UserError(f"{run.path} is in {options.into}", "choose another folder for the rerun with --into.")
    rerun = RunDirectory(_repeat(run, record, options.into, options.device or record["device"], trust))
    changed = compare_numbers(before, read_numbers(rerun))
    _print_numbers(before, changed)
    _print_limit(record, rerun)
    _print_environment(run, rerun)
    if changed:
        print(f"→ {rerun.path}")
        return 1
    shutil.rmtree(rerun.path)
    for folder in (rerun.path.parent, options.into):
        if not any(folder.iterdir()):
            folder.rmdir()
    return 0


def _repeat(run: RunDirectory, record: Record, into: Path, device: str, trust: list[str]) -> Path:
    """Train or test with the stored config, showing the usual progress; resume an interrupted rerun."""
    from omegaconf import OmegaConf

    from metarun.config.schema import RetestConfig, RunConfig, register
    from metarun.config.unknown_keys import unknown_keys
    from metarun.runner.retest import retest
    from metarun.runner.stored_config import HYDRA_KEYS, REQUIRED, stored_config
    from metarun.runner.train import train

    register()
    is_test = "trained_by" in record
    stored = stored_config(run, trust, required=TEST_KEYS if is_test else REQUIRED)
    plain = {key: stored[key] for key in stored if key not in HYDRA_KEYS}
    if (unknown := next(unknown_keys(plain, RetestConfig if is_test else RunConfig), None)) is not None:
        problem = f"{run.config} has a key that this version of metarun does not know ({unknown})"
        raise UserError(problem, "rerun it with the version that made it.")
    config = {**plain, "results_dir": str(into), "device": device}
    if is_test:
        trained = str(_trained_run(run, Path(str(stored["run"]))))
        return retest(OmegaConf.create({**config, "run": trained, "trust": trust, "force": True}))
    force = (into / "runs" / run.path.resolve().name / "result.json").exists()  # from an earlier rerun
    return train(OmegaConf.create({**config, "logger": {}, "force": force}))  # a rerun is not logged again


def _trained_run(run: RunDirectory, stored: Path) -> Path:
    """The directory of the run that `metarun test` evaluated: as stored, or next to `run` if both were moved."""
    sibling = run.path.parent / stored.name
    return stored if stored.is_dir() or not sibling.is_dir() else sibling


def _print_numbers(before: Numbers, changed: Sequence[Difference]) -> None:
    values = sum(map(len, before.values()))
    if not changed:
        print(f"Reproduced bit for bit: {values:,} values of {len(before)} keys and columns.")
        return
    print(f"Not reproduced: {len(changed)} of {len(before)} keys and columns differ.")
    rows = [[each.what, _cut(each.before), _cut(each.now), f"{each.count:,}", _largest(each)] for each in changed]
    note = "All others are the same bit for bit."
    print_table(["changed", "first before", "now", "values", "largest difference"], rows, [note], "table")


def _cut(value: Any) -> str:
    return str(value) if len(str(value)) <= 24 else f"{str(value)[:23]}…"


def _largest(difference: Difference) -> str:
    return "–" if difference.largest is None else f"{difference.largest:.3g}"


def _print_limit(record: Record, rerun: RunDirectory) -> None:
    """If a time budget ended training, print how many steps each run took: that depends on the machine."""
    steps = (rerun.read_result() or {}).get("iterations")
    if "trained_by" not in record and steps != record["iterations"]:
        print(
            f"Both runs were limited by train.time_budget: the first took {record['iterations']:,} steps, the rerun "
            f"{steps:,}, so different numbers are expected."
        )


def _print_environment(run: RunDirectory, rerun: RunDirectory) -> None:
    before, now = run.read_environment(), rerun.read_environment()
    if before is None or now is None:
        print(f"{run.environment} cannot be read, so changes in the environment are unknown.")
        return
    for earlier, event in [(before, "start"), *((resumed, "resume") for resumed in before.get("resumed", []))]:
        _print_changes(earlier, now, event)


def _print_changes(earlier: Mapping[str, Any], now: Mapping[str, Any], event: str) -> None:
    changed = compare_environments(earlier, now, (*CHANGES_NUMBERS, *PLACE))
    since = f"since the {event} of the run ({earlier.get('time', 'unknown time')})"
    if changed:
        print(f"Environment changes {since}: {', '.join(f'{key} {how}' for key, how in changed.items())}.")
    else:
        print(f"No environment changes {since}.")
    if "threads" in changed:
        print(f"OMP_NUM_THREADS={earlier['threads']} metarun rerun … uses the same number of threads.")
