"""What a support set tells by itself: how well it is fitted, and how well it predicts its own examples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.evaluation.feature_cache import is_per_example, without_backbone
from metarun.system.inputs import Inputs, map_inputs
from metarun.tasks.batch import Support
from metarun.tasks.losses import correct, per_query_loss


@dataclass(frozen=True)
class LeaveOneOut:
    """Leave-one-out predictions of a support set.

    Args:
        examples: number of examples predicted from the others.
        accuracy: of these predictions, in [0, 1].
        lowest_score: the lowest of their largest logits.
    """

    examples: int
    accuracy: float
    lowest_score: float


@dataclass(frozen=True)
class Fit:
    """How well a learner predicts its own support set after some steps.

    Args:
        loss: mean cross-entropy in nats, or squared error.
        accuracy: in [0, 1]; None in regression.
    """

    loss: float
    accuracy: float | None


@torch.no_grad()
def fit(method: Algorithm, support: Support, steps: int) -> list[Fit]:
    """Return how well a support set is predicted before adaptation to it and after each step."""
    y, found = support.y[None], []
    for adapted in method.adapt(support, steps):
        predicted = adapted.predict(support.x)[None]
        loss = float(per_query_loss(predicted, y).double().mean())
        accuracy = None if y.is_floating_point() else float(correct(predicted, y).double().mean())
        found.append(Fit(loss, accuracy))
    return found


@torch.no_grad()
def leave_one_out(method: Algorithm, support: Support, steps: int) -> LeaveOneOut | None:
    """Predict each example of a classification from the others, except the only one of a class.

    Returns:
        None if every class has one example, or the method needs the same number of each class.
    """
    y = support.y
    predicted = (torch.bincount(y)[y] > 1).nonzero()[:, 0].tolist()
    if method.needs_equal_shots or not predicted:
        return None
    method, x = _on_features(method, support.x)
    right, scores = 0, []
    for i in predicted:
        rest = torch.arange(len(y), device=y.device) != i
        *_, last = method.adapt(Support(_at(x, rest), y[rest], support.way), steps)
        logits = last.predict(_at(x, slice(i, i + 1)))[0]
        right += int(logits.argmax() == y[i])
        scores.append(float(logits.max()))
    return LeaveOneOut(len(predicted), right / len(predicted), min(scores))


def _on_features(method: Algorithm, x: Inputs) -> tuple[Algorithm, Inputs]:
    """Return the method and the examples; without the backbone and with features, where that is the same."""
    if not method.predicts_from_features:
        return method, x
    backbone = method.get_submodule("backbone")
    return (without_backbone(method), backbone(x)) if is_per_example(backbone, x) else (method, x)


def _at(x: Inputs, rows: Tensor | slice) -> Inputs:
    return map_inputs(lambda field: field[rows], x)
