"""The figures of a row about unknown queries: AUROC in percent, with its floor."""

from collections.abc import Sequence
from statistics import fmean, stdev

from metarun.results.records import Record

# What the unknown queries of a kind are, for a sentence.
QUERIES = {"unknown": "classes that are not in the task", "out_of_scope": "queries out of scope"}


def auroc_text(records: Sequence[Record], kind: str) -> str:
    """Format the AUROC of a kind of unknown queries: "85.3 ± 0.4 (78.0)"; with ↓ if it is below its floor.

    Args:
        records: one run, or several that differ only in their seed: "85.3 sd 0.4 (78.0)".
        kind: of `QUERIES`.
    """
    values = [record[f"auroc_{kind}"] for record in records if record.get(f"auroc_{kind}") is not None]
    floors = [record[f"floor_auroc_{kind}"] for record in records if record.get(f"floor_auroc_{kind}") is not None]
    if not values or not floors:
        return "–"
    half = records[0].get(f"auroc_{kind}_ci95") if len(values) == 1 else None
    spread = f" sd {100 * stdev(values):.1f}" if len(values) > 1 else "" if half is None else f" ± {100 * half:.1f}"
    below = " ↓" if fmean(values) + (half or 0) < fmean(floors) else ""
    return f"{100 * fmean(values):.1f}{spread} ({100 * fmean(floors):.1f}){below}"
