"""Measurements as JSON records and as tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmark.bound import Bound
from scripts.benchmark.case import Comparison, Duel, Limit, Peer
from scripts.benchmark.machine import GIGA, count_flops
from scripts.benchmark.timing import Seconds, ratio_of

Record = dict[str, Any]

PIPED_WIDTH = 180  # characters of a table that does not go to a terminal
EVEN = 0.97  # ratios from here on count as equally fast: pairs of identical work vary this much


def compare(
    name: str, case: Comparison, target: float, duel: Duel, times: list[Seconds], bound: Bound | None = None
) -> list[Record]:
    """Return one record per peer.

    Args:
        name: of the case.
        case: the case.
        target: required ratio.
        duel: the prepared case.
        times: ours, then those of the peers in order.
        bound: what takes most of our time.
    """
    ours, *others = times
    gflops = None if duel.flops is None else count_flops(duel.flops) / duel.flops_share / GIGA
    return [
        {
            "case": name,
            "title": case.title,
            "ours_seconds": ours.each,
            "ours_min": ours.least,
            "ours_median": ours.median,
            **_against(peer_name, peer, ours, theirs, target),
            "repeats": len(ours.each),
            "gflop": gflops,
            "gflops": None if gflops is None else gflops / ours.median,
            "bound": None if bound is None else bound._asdict(),
        }
        for (peer_name, peer), theirs in zip(duel.peers.items(), others, strict=True)
    ]


def _against(name: str, peer: Peer, ours: Seconds, theirs: Seconds, target: float) -> Record:
    ratio = ratio_of(theirs, ours, peer.share)
    return {
        "peer": name,
        "peer_seconds": theirs.each,
        "peer_share": peer.share,
        "peer_min": theirs.least / peer.share,
        "peer_median": theirs.median / peer.share,
        "ratio": ratio.median,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "target": target,
        "met": ratio.median >= target,
        "agreement": peer.agreement,
        "note": peer.note,
    }


def check_limit(name: str, case: Limit, target: float, figures: list[float]) -> Record:
    """Return the record of a case without a peer."""
    seconds = Seconds(tuple(figures))
    return {
        "case": name,
        "title": case.title,
        "unit": case.unit,
        "ours_each": seconds.each,
        "ours_min": seconds.least,
        "ours_median": seconds.median,
        "target": target,
        "met": seconds.median <= target,
        "repeats": len(figures),
    }


def is_slower(record: Record) -> bool:
    """Return whether a peer was faster in every pair, by more than the variation of identical work."""
    return "ratio" in record and record["ratio_high"] < EVEN


def show(machine: Mapping[str, Any], records: list[Record], console: Console) -> None:
    """Print the tables of ratios and of limits."""
    console.print(
        f"{machine['name']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"torch {machine['versions']['torch']}; peak {machine['peak_matmul_gflops']:.0f} GFLOP/s in a matrix product, "
        f"{machine['peak_convolution_gflops']:.0f} in a 3x3 convolution",
        highlight=False,
        soft_wrap=True,
    )
    seconds = ("ours, min / median", "peer, min / median")
    ratios = Table("case", "peer", *seconds, "ratio (range)", "target", "met", "peak", "most time in")
    limits = Table("case", "min / median", "limit", "met")
    for table in (ratios, limits):
        table.columns[0].no_wrap = True  # in a narrow terminal other columns wrap
    for record in records:
        if "ratio" in record:
            ratios.add_row(*_ratio_cells(record, machine))
        else:
            limits.add_row(*_limit_cells(record))
    wide = console if console.is_terminal else Console(file=console.file, width=PIPED_WIDTH)  # whole names in a file
    for table in (ratios, limits):
        if table.row_count:
            wide.print(table)
    notes = {f"{record['case']}, {record['peer']}: {record['note']}" for record in records if record.get("note")}
    for note in sorted(notes):
        console.print(note, highlight=False, soft_wrap=True)


def _ratio_cells(record: Record, machine: Mapping[str, Any]) -> tuple[str, ...]:
    share = "" if record["gflops"] is None else f"{record['gflops'] / machine['peak_convolution_gflops']:.0%}"
    return (
        record["case"],
        record["peer"],
        f"{duration(record['ours_min'])} / {duration(record['ours_median'])}",
        f"{duration(record['peer_min'])} / {duration(record['peer_median'])}",
        f"{record['ratio']:.2f} ({record['ratio_low']:.2f} to {record['ratio_high']:.2f})",
        f"{record['target']:g}",
        _yes(record["met"]),
        share,
        _bound(record.get("bound")),
    )


def _limit_cells(record: Record) -> tuple[str, ...]:
    unit = record["unit"]
    figures = f"{record['ours_min']:.2f} / {record['ours_median']:.2f} {unit}"
    return record["case"], figures, f"{record['target']:g} {unit}", _yes(record["met"])


def _bound(bound: Mapping[str, Any] | None) -> str:
    return "" if bound is None else f"{bound['kind']} {bound['share']:.0%}"


def _yes(met: bool) -> str:
    return "yes" if met else "no"


def duration(seconds: float) -> str:
    """Format seconds with three digits: 0.0123 is 12.3 ms."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def write(path: Path, machine: Mapping[str, Any], records: list[Record]) -> None:
    """Write all measurements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "records": records}, indent=1) + "\n")
