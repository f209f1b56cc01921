"""The keys of a record about predicted probabilities: NLL, Brier score and calibration error."""

import torch

from metarun.evaluation.evaluate import Evaluation
from metarun.results.records import Record
from metarun.results.statistics import calibration_error, mean_and_ci95


def describe_probabilities(found: Evaluation) -> Record:
    """Return the means after the last step over the tasks that did not diverge, with their 95 % intervals.

    Nothing in regression, or if a value is not finite.
    """
    if not found.final:
        return {}
    finite = ~found.diverged
    loss, brier, gaps = (each[finite].double() for each in (found.loss[-1], found.final["brier"], found.final["gaps"]))
    if not len(loss) or not all(bool(torch.isfinite(each).all()) for each in (loss, brier, gaps)):
        return {}
    figures = {
        "nll": mean_and_ci95(loss.numpy()),
        "brier": mean_and_ci95(brier.numpy()),
        "ece": calibration_error(gaps.numpy()),
    }
    means = {key: mean for key, (mean, _) in figures.items()}
    return {**means, **{f"{key}_ci95": half for key, (_, half) in figures.items()}}
