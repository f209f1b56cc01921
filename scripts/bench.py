"""Compare the speed of metarun with learn2learn and easyfsl on this machine; docs/performance.md explains the output.

    python -m scripts.bench                                every case
    python -m scripts.bench --case maml_omniglot --repeats 15 --device cpu
    python -m scripts.bench --short                        small sizes; fails if a peer is faster

Both sides run in one process, alternating, with the same weights on the same tasks. They must compute the same loss
before they are timed. Results are written to results/bench/ as JSON.
"""

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console

from metarun.errors import UserError
from metarun.runner.device import find_device
from metarun.system.memory import keep_freed_memory
from scripts.benchmark import commands, evaluating, heads, pretraining, training
from scripts.benchmark.bound import find_bound
from scripts.benchmark.case import Comparison, Limit, Setting
from scripts.benchmark.machine import describe, measure_peak
from scripts.benchmark.report import Record, check_limit, compare, is_slower, show, write
from scripts.benchmark.timing import cpu_seconds, time_alternating

REPEATS = 5
CLOCKS = {"wall": time.perf_counter, "cpu": cpu_seconds}


def cases() -> dict[str, Comparison | Limit]:
    """Return every case, by name."""
    modules = (training, heads, pretraining, evaluating, commands)
    compared = {name: case for module in modules for name, case in module.comparisons().items()}
    return {**compared, **commands.limits()}


def measure(name: str, case: Comparison | Limit, setting: Setting, repeats: int) -> list[Record]:
    """Measure one case."""
    target = case.targets.on(setting.device)
    if isinstance(case, Limit):
        return [check_limit(name, case, target, case.measure(setting, repeats))]
    duel = case.prepare(setting)
    repeats = min(repeats, case.max_repeats or repeats)
    times = time_alternating(
        [duel.ours, *(peer.run for peer in duel.peers.values())], repeats, setting.device, clock=setting.clock
    )
    bound = find_bound(duel.ours) if duel.in_process and setting.device.type == "cpu" else None
    return compare(name, case, target, duel, times, bound)


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", nargs="+", choices=cases(), default=list(cases()), metavar="NAME", help="cases to measure"
    )
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, help=f"repeats of each side, at most; default {REPEATS}"
    )
    parser.add_argument("--device", default="cpu", help="cpu, or cuda with its own targets")
    parser.add_argument("--threads", type=int, help="torch's threads on the CPU; default: torch's own")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="use cpu with --threads 1 if other processes use the cores"
    )
    parser.add_argument("--short", action="store_true", help="small sizes, takes minutes")
    parser.add_argument("--out", type=Path, help="default: results/bench/<date>-<device>.json")
    asked = parser.parse_args(words)
    try:
        asked.device = find_device(asked.device)
    except UserError as error:
        parser.exit(2, f"{error.problem}; leave out --device.\n")
    if asked.device.type != "cpu" and asked.clock == "cpu":
        parser.exit(2, f"--clock cpu does not count the time of device={asked.device}; leave it out.\n")
    return asked


def main(words: list[str] | None = None) -> int:
    """Measure the requested cases; return 1 if --short finds a peer that is clearly faster, else 0."""
    asked = arguments(words)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    keep_freed_memory()  # as metarun does; here the peers benefit too
    device, console = asked.device, Console()
    machine = describe(
        device, measure_peak(device, CLOCKS[asked.clock], size=512 if asked.short else 2048), asked.clock
    )
    out = (
        asked.out
        or Path("results/bench") / f"{datetime.now(UTC):%Y-%m-%d}-{device.type}{'-short' if asked.short else ''}.json"
    )
    records: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(device, asked.short, Path(folder), CLOCKS[asked.clock])
        for name in asked.case:
            with console.status(name):
                records += measure(name, cases()[name], setting, asked.repeats)
            write(out, machine, records)  # after each case, so that an interrupt loses none
    show(machine, records, console)
    console.print(f"→ {out}", highlight=False)
    slower = [f"{record['case']} ({record['peer']})" for record in records if is_slower(record)]
    if asked.short and slower:
        console.print(f"slower than a peer: {', '.join(slower)}", style="red")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
