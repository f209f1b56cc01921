"""Losses: cross-entropy for labels, squared error for numbers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


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


def _has_prediction(predictions: Tensor) -> Tensor:
    return predictions.amax(-1).isfinite()  # NaN counts as the largest
