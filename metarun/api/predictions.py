"""The predictions of a learner for a user's examples: a row each, and what those with a class or target tell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.api.learner import Learner
from metarun.data.encoders import RowEncoder
from metarun.data.own.found import Examples
from metarun.system.progress import OnProgress, ignore_progress


@dataclass(frozen=True)
class Predictions:
    """The predictions for some examples, in their order.

    Args:
        columns: the names of the columns of `rows`.
        rows: one for each example, as `csv.DictWriter` takes them; examples that cannot be decoded have the reason.
        known: of examples of a class of the learner: (class, predicted class).
        other: how many examples have a class that the learner does not know.
        squared_errors: (examples, outputs) in the units of the targets, of examples with targets; in regression.
        confidence: (decoded) the probability of the predicted class; none in regression.
    """

    columns: Sequence[str]
    rows: Sequence[dict[str, Any]]
    known: Sequence[tuple[Any, Any]] = ()
    other: int = 0
    squared_errors: NDArray[np.float64] | None = None
    confidence: NDArray[np.float64] | None = None

    @property
    def unknown(self) -> int:
        """How many examples are near no class."""
        return sum(row.get("unknown") == "yes" for row in self.rows)

    @property
    def failed(self) -> int:
        """How many examples cannot be decoded."""
        return sum(bool(row["error"]) for row in self.rows)


def predict_examples(learner: Learner, examples: Examples, on_progress: OnProgress = ignore_progress) -> Predictions:
    """Predict examples of a user's own.

    Args:
        learner: to predict with.
        examples: that were read with the learner's encoder.
        on_progress: called with the number of examples predicted, and of how many.
    """
    return _classified(learner, examples, on_progress) if learner.classes else _regressed(learner, examples)


def _classified(learner: Learner, examples: Examples, on_progress: OnProgress) -> Predictions:
    names = {str(label): label for label in learner.classes}
    probabilities, unknown = learner.predict_known(examples.values, on_progress)
    best = probabilities.argmax(1) if len(probabilities) else np.empty(0, int)
    predicted = iter(zip(probabilities, best, unknown, strict=True))
    rows = []
    for each in examples.found:
        row = {"file": each.name, "class": "", "probability": "", "unknown": "", "error": each.error}
        if not each.error:
            of_classes, index, is_unknown = next(predicted)
            row |= {"class": learner.classes[index], "probability": f"{of_classes[index]:.4f}"}
            row |= {"unknown": "yes" if is_unknown else "no"}
            row |= {f"p({name})": f"{p:.4f}" for name, p in zip(names, of_classes, strict=True)}
        rows.append(row)
    pairs = [(label, learner.classes[index]) for label, index in zip(examples.labels, best, strict=True)]
    known = [(names[label], found) for label, found in pairs if label in names]
    columns = ["file", "class", "probability", "unknown", "error", *(f"p({name})" for name in names)]
    other = sum(label is not None and label not in names for label, _ in pairs)
    return Predictions(columns, rows, known, other, confidence=probabilities.max(1, initial=0.0))


def _regressed(learner: Learner, examples: Examples) -> Predictions:
    encoder = learner.encoder
    assert isinstance(encoder, RowEncoder)
    assert encoder.targets is not None, "the run predicts numbers"
    predicted = encoder.targets.numbers(learner.predict(examples.values))
    numbers: Iterator[NDArray[np.float64]] = iter(predicted)
    rows = []
    for each in examples.found:
        row: dict[str, Any] = {"file": each.name, "error": each.error}
        if not each.error:
            row |= {name: f"{value:.6g}" for name, value in zip(encoder.targets.names, next(numbers), strict=True)}
        rows.append(row)
    errors = None
    if examples.targets is not None and len(examples.targets):
        there = ~np.isnan(examples.targets).any(1)
        errors = (predicted[there] - encoder.targets.numbers(examples.targets[there])) ** 2
    return Predictions(["file", *encoder.targets.names, "error"], rows, squared_errors=errors)
