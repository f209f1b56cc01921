"""Losses: cross-entropy for labels, squared error for numbers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from metarun.errors import UserError

CALIBRATION_BINS = 15


def per_query_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return (...) the loss of each prediction.

    Args:
        predictions: (..., way) logits, or (..., 1) numbers in regression.
        targets: (...) int64 labels, or (..., 1) floats.
    """
    if targets.is_floating_point():
        return (predictions - targets).square().mean(-1)
    log_probabilities = F.log_softmax(predictions, -1)
    return -log_probabilities.gather(-1, targets[..., None]).squeeze(-1)


def mean_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over all predictions, which an inner or outer loop minimises."""
    return per_query_loss(predictions, targets).mean()


def smoothed_loss(predictions: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the mean cross-entropy with targets that give the other classes `smoothing` in equal parts.

    Szegedy et al. 2016 (https://arxiv.org/abs/1512.00567, section 7) give the label its part too, and so does
    `torch.nn.functional.cross_entropy`; the code of MetaOptNet does it as here.

    Args:
        predictions: (..., way) logits.
        labels: (...) int64.
        smoothing: from 0 to 1; 0 is `mean_loss`.
    """
    if smoothing == 0:
        return mean_loss(predictions, labels)
    way = predictions.shape[-1]
    others = 1 - F.one_hot(labels, way).to(predictions.dtype)
    loss_of_others = -(others * predictions.log_softmax(-1)).sum(-1).mean() / (way - 1)
    return (1 - smoothing) * mean_loss(predictions, labels) + smoothing * loss_of_others


def check_label_smoothing(smoothing: float) -> None:
    """Raise a UserError if the smoothing of a method's labels is out of range."""
    if not 0 <= smoothing < 1:
        raise UserError(
            f"algo.label_smoothing={smoothing} but it must be at least 0 and below 1", "change `algo.label_smoothing`."
        )


def correct(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return (...) bool: whether the largest logit is that of the label; false if it is not finite."""
    return (predictions.argmax(-1) == labels) & _has_prediction(predictions)


def confidence(predictions: Tensor) -> Tensor:
    """Return (...) the probability of the predicted class, in [0, 1]; 0 if the largest logit is not finite."""
    return torch.softmax(predictions, -1).amax(-1).where(_has_prediction(predictions), 0.0)


def known_score(predictions: Tensor) -> Tensor:
    """Return (...) how surely a query is of any class of its task: the largest logit; -inf if it is NaN.

    It is the score of `Learner.predict_known`.
    """
    return predictions.amax(-1).nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)


def brier_score(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return (...) the squared distance of the predicted probabilities from the label's, in [0, 2] (Brier 1950)."""
    probabilities = torch.softmax(predictions, -1)
    return (probabilities - F.one_hot(labels, predictions.shape[-1])).square().sum(-1)


def calibration_gaps(confidences: Tensor, right: Tensor) -> Tensor:
    """Return (..., 15) the sum over (..., queries) of confidence minus correctness by bin of confidence, per query.

    Bins have equal widths, as in the expected calibration error of Guo et al. (2017), which is the sum over the bins
    of the absolute values of their means over tasks.
    """
    bins = (confidences * CALIBRATION_BINS).long().clamp(0, CALIBRATION_BINS - 1)
    gaps = confidences.new_zeros(*confidences.shape[:-1], CALIBRATION_BINS, dtype=torch.float64)
    return gaps.scatter_add(-1, bins, confidences.double() - right.double()) / confidences.shape[-1]


def _has_prediction(predictions: Tensor) -> Tensor:
    return predictions.amax(-1).isfinite()  # NaN counts as the largest
