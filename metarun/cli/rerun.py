"""`metarun rerun RUN`: repeat a finished run elsewhere and say whether its numbers come again, bit for bit."""

import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.cli.parser import WordParser
from metarun.errors import UserError
from metarun.reporting.tables.render import print_table
from metarun.results.bitwise_diff import Difference, Numbers, compare_numbers, read_numbers
from metarun.results.provenance import CHANGES_NUMBERS, PLACE, compare_environments
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory, find_run

OF_TEST = {"run", "task", "test", "train", "chosen", "algo", "data"}  # without these it is no config of `metarun test`

EXAMPLES = """examples:
  metarun rerun 3f2a                                   a run, or a row of `metarun test`, by the start of its id
  metarun rerun results/runs/maml-glyphs-5w1s-3f2a91c4 --device cpu

exit code: 0 the same, 1 other numbers. What differs is kept in reruns/; what is the same is removed there."""


def main(words: Sequence[str]) -> int:
    """Repeat the run, compare, and return the exit code: 0 where all numbers are the same, else 1.

    Raises:
        UserError: there is no such run, it is not finished, or what it needs is no longer there.
    """
    parser = WordParser.with_examples(
        "metarun rerun", "Repeat a finished run and say whether its numbers come again, bit for bit.", EXAMPLES
    )
    parser.add_argument("run", metavar="RUN", help="a run's directory or the first characters of its id")
    parser.add_argument("trust", metavar="trust=[NAME,…]", nargs="?", default="", help="code of yours that it names")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where it is (default: results)")
    parser.add_argument("--into", type=Path, default=Path("reruns"), help="where it is repeated (default: reruns)")
    parser.add_argument("--device", help="default: the one it was made on")
    asked = parser.parse_args(words)
    run = find_run(asked.results_dir, asked.run)
    before = read_numbers(run)
    record = run.read_result() or {}
    if asked.into.resolve() in run.path.resolve().parents:
        raise UserError(f"{run.path} lies in {asked.into}", "name another folder for its repetition with --into.")
    trust = _names(asked.trust)
    again = RunDirectory(_repeat(run, record, asked.into, asked.device or record["device"], trust))
    gaps = compare_numbers(before, read_numbers(again))
    _print_numbers(before, gaps)
    _print_limit(record, again)
    _print_environment(run, again)
    if gaps:
        print(f"→ {again.path}")
        return 1
    shutil.rmtree(again.path)
    for folder in (again.path.parent, asked.into):
        if not any(folder.iterdir()):
            folder.rmdir()
    return 0


def _names(word: str) -> list[str]:
    """Return the names in ``trust=[my_methods.Mine,my_network.Wide]``.

    Raises:
        UserError: it is another word.
    """
    if not word:
        return []
    if not (found := re.fullmatch(r"trust=\[(.*)\]", word)):
        raise UserError(
            f"metarun rerun takes a run and perhaps trust=[NAME,…], not {word}", "--help shows what it takes."
        )
    return [name.strip() for name in found[1].split(",")]


def _repeat(run: RunDirectory, record: Record, into: Path, device: str, trust: list[str]) -> Path:
    """Train or test as the stored config says, with what `metarun train` shows; go on where an earlier try stopped."""
    from omegaconf import OmegaConf

    from metarun.config.schema import register
    from metarun.runner.retest import retest
    from metarun.runner.stored_config import HYDRA_KEYS, REQUIRED, stored_config
    from metarun.runner.train import train

    register()
    sys.path.append(str(Path.cwd()))  # a user's own classes are found where the command is run
    of_test = "trained_by" in record
    stored = stored_config(run, trust, required=OF_TEST if of_test else REQUIRED)
    again = {
        **{key: stored[key] for key in stored if key not in HYDRA_KEYS},
        "results_dir": str(into),
        "device": device,
    }
    if of_test:
        trained = str(_trained(run, Path(str(stored["run"]))))
        return retest(OmegaConf.create({**again, "run": trained, "trust": trust, "force": True}))
    force = (into / "runs" / run.path.name / "result.json").exists()  # of a rerun before this one
    return train(OmegaConf.create({**again, "logger": {}, "force": force}))  # no logger: nobody is told twice


def _trained(run: RunDirectory, stored: Path) -> Path:
    """Where the run lies that a row of `metarun test` judged: where it was, or beside the row if all was moved."""
    beside = run.path.parent / stored.name
    return stored if stored.is_dir() or not beside.is_dir() else beside


def _print_numbers(before: Numbers, gaps: Sequence[Difference]) -> None:
    values = sum(map(len, before.values()))
    if not gaps:
        print(f"The same, bit for bit: {values:,} values of {len(before)} keys and columns.")
        return
    rows = [[gap.what, _cut(gap.before), _cut(gap.now), f"{gap.count:,}", _largest(gap)] for gap in gaps]
    note = f"{len(gaps)} of {len(before)} keys and columns differ; all others are the same, bit for bit."
    print_table(["what differs", "first before", "now", "values", "largest gap"], rows, [note], "table")


def _cut(value: Any) -> str:
    return str(value) if len(str(value)) <= 24 else f"{str(value)[:23]}…"


def _largest(gap: Difference) -> str:
    return "–" if gap.largest is None else f"{gap.largest:.3g}"


def _print_limit(record: Record, again: RunDirectory) -> None:
    """Of a run that a limit in time has ended, say how far each came: that is up to the machine."""
    steps = (again.read_result() or {}).get("iterations")
    if "trained_by" not in record and steps != record["iterations"]:
        print(
            f"A limit in time ended both (train.time_budget): {record['iterations']:,} steps were taken before and "
            f"{steps:,} now, so other numbers are no wonder."
        )


def _print_environment(run: RunDirectory, again: RunDirectory) -> None:
    before, now = run.read_environment(), again.read_environment()
    if before is None or now is None:
        print(f"{run.environment} cannot be read: what differs in the environment is not known.")
        return
    for began, when in [(before, "it was made"), *((resumed, "it went on") for resumed in before.get("resumed", []))]:
        _print_changes(began, now, when)


def _print_changes(began: Mapping[str, Any], now: Mapping[str, Any], when: str) -> None:
    changed = compare_environments(began, now, (*CHANGES_NUMBERS, *PLACE))
    when = f"since {when} ({began.get('time', 'at an unknown time')})"
    if changed:
        print(f"In the environment {when}: {', '.join(f'{key} {how}' for key, how in changed.items())}.")
    else:
        print(f"In the environment nothing has changed {when}.")
    if "threads" in changed:
        print(f"OMP_NUM_THREADS={began['threads']} metarun rerun … repeats it with as many threads.")
