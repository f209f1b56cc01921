"""What `metarun predict --picture` draws: the support set, and the surest and least sure answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from metarun.api.learner import Learner
from metarun.api.predictions import Predictions
from metarun.data.own.found import Examples
from metarun.errors import UserError
from metarun.reporting.plots.answers import ACROSS, Tile

MOST_CLASSES = 20  # of the support set that are drawn
_TEXTS = 3  # of a class
_ANSWERS = 8


def answers_to_draw(
    learner: Learner, examples: Sequence[Examples], predictions: Sequence[Predictions], support: Examples | None
) -> list[tuple[str, list[Tile]]]:
    """Return the rows of `draw_answers`.

    Args:
        learner: that was adapted to the support set.
        examples: that were predicted.
        predictions: for each of `examples`.
        support: its examples; None: they are not at hand, only their inputs.
    """
    if not learner.classes:
        raise UserError("--picture draws classes but this run predicts numbers", "omit it.")
    answers = [tile for each in zip(examples, predictions, strict=True) for tile in _answers(*each)]
    if not answers:
        raise UserError("nothing was predicted, so there is nothing to draw", "omit --picture.")
    answers.sort(key=lambda answer: -answer[0])
    surest, least = answers[:_ANSWERS], answers[::-1][:_ANSWERS]
    rows = _support_rows(learner, support)
    return [*rows, ("surest", [tile for _, tile in surest]), ("least sure", [tile for _, tile in least])]


def _support_rows(learner: Learner, support: Examples | None) -> list[tuple[str, list[Tile]]]:
    names = [str(name) for name in learner.classes[:MOST_CLASSES]]
    x, y = learner.support
    if _drawable(x):
        rows = [(name, [Tile(value) for value in x[y == i][:ACROSS]]) for i, name in enumerate(names)]
    elif support is not None:
        texts = {name: [each for each in support.decoded if each.label == name][:_TEXTS] for name in names}
        rows = [(name, [Tile(None, each.text or each.name) for each in of_name]) for name, of_name in texts.items()]
    else:
        rows = [(name, [Tile(None, f"{int((y == i).sum())} examples")]) for i, name in enumerate(names)]
    if more := len(learner.classes) - len(names):
        rows.append(("…", [Tile(None, f"and {more:,} more classes")]))
    return rows


def _answers(examples: Examples, predictions: Predictions) -> list[tuple[float, Tile]]:
    """Return the confidence and the tile of each answer."""
    answered = [row for row in predictions.rows if not row["error"]]
    confidence = predictions.confidence
    assert confidence is not None, "the learner has classes"
    found = []
    for row, each, value, sure in zip(answered, examples.decoded, examples.values, confidence, strict=True):
        right = None if each.label is None else each.label == str(row["class"])
        mark = "" if right is None else "✓ " if right else "✗ "
        shown = value if _drawable(examples.values) else None
        tile = Tile(shown, each.text or each.name, f"{mark}{row['class']} {100 * sure:.0f}", right)
        found.append((float(sure), tile))
    return found


def _drawable(values: Any) -> bool:
    """Whether inputs are pictures, or spectrograms."""
    return values.dtype.names is None and values.ndim == 4 and (values.dtype == np.uint8 or values.shape[1] == 1)
