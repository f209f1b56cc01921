"""The part of a record that is about unknown queries."""

import torch

from metarun.evaluation.unknown import evaluate_unknown, floor_unknown
from metarun.results.records import Record
from metarun.results.statistics import mean_and_ci95
from metarun.runner.components import Parts
from metarun.runner.set_records import mean_over_sets
from metarun.system.progress import OnProgress
from metarun.tasks.mixture_stream import EachSetStream
from metarun.tasks.unknown_queries import UnknownQueries


def describe_unknown(parts: Parts, tested: Record, on_progress: OnProgress) -> tuple[Record, dict[str, torch.Tensor]]:
    """Return the record's keys about unknown queries, and the AUROC of each task and step by column; both may be empty.

    Args:
        parts: of the run, with the checkpoint loaded.
        tested: the keys about the test so far; of a mixture, those of each data set are extended.
        on_progress: called with the number of tasks done and the total.
    """
    record: Record = {}
    columns: dict[str, torch.Tensor] = {}
    (tasks, steps), stream = parts.test_size, parts.test_stream
    for unknown in parts.unknown:
        found = evaluate_unknown(parts.algorithm, stream, tasks, steps, unknown, parts.features, on_progress)
        floor_found = floor_unknown(stream, tasks, unknown, on_progress)
        columns[f"auroc_{unknown.kind}"] = found
        record |= {f"test_{unknown.kind}": unknown.count, **_figures(unknown, found, floor_found)}
        if isinstance(stream, EachSetStream):
            sets = {
                name: _figures(unknown, found[:, numbers], floor_found[:, numbers])
                for name, (_, numbers) in zip(stream.streams, stream.parts(tasks), strict=True)
            }
            tested = {**tested, "sets": {name: {**tested["sets"][name], **sets[name]} for name in sets}}
            halves = [each[f"auroc_{unknown.kind}_ci95"] for each in sets.values()]
            record |= {"sets": tested["sets"], f"auroc_{unknown.kind}_ci95": mean_over_sets(halves)}
    return record, columns


def _figures(unknown: UnknownQueries, found: torch.Tensor, floor_found: torch.Tensor) -> Record:
    """Return the means over tasks after the last step."""
    mean, half = mean_and_ci95(found[-1].numpy())
    return {
        f"auroc_{unknown.kind}": mean,
        f"auroc_{unknown.kind}_ci95": half,
        f"floor_auroc_{unknown.kind}": float(floor_found[-1].mean()),
    }
