"""The accuracy of each class, and the pairs of classes most often mixed up: `classes.json`."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from metarun.errors import printable
from metarun.evaluation.evaluate import Evaluation
from metarun.results.records import Record

LISTED = 10


def describe_classes(found: Evaluation, names: Sequence[str]) -> Record:
    """Return the accuracy of each class and the ten pairs most often mixed up, after the last step.

    Args:
        found: with `true` and `predicted` in `final`; else nothing is returned.
        names: of the classes of the split; none if the tasks are from several data sets.

    Returns:
        `classes`: [class, accuracy, queries] of each, the worst first. `mixed_up`: [class, predicted class, share], the
        share of the class's queries, in tasks with both classes, that were predicted as the other one.
    """
    count = len(names)
    if "true" not in found.final or int(found.final["true"].max()) >= count:
        return {}
    true, predicted = found.final["true"], found.final["predicted"]
    queries = torch.bincount(true.flatten(), minlength=count)
    right = torch.bincount(true[true == predicted], minlength=count)
    present = queries.nonzero()[:, 0]
    accuracy = right[present] / queries[present]
    worst = present[accuracy.argsort(stable=True)].tolist()
    wrong = (true != predicted) & (predicted >= 0)
    pairs = Counter((true[wrong] * count + predicted[wrong]).tolist())
    most = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:LISTED]
    mixed = [(*divmod(pair, count), times) for pair, times in most]
    return {
        "classes": [[printable(names[c]), int(right[c]) / int(queries[c]), int(queries[c])] for c in worst],
        "mixed_up": [
            [printable(names[one]), printable(names[other]), n / _together(true, one, other)] for one, other, n in mixed
        ],
    }


def _together(true: Tensor, one: int, other: int) -> int:
    """Return how many queries of one class are in tasks with both."""
    is_one = true == one
    return int(is_one[(true == other).any(1)].sum())
