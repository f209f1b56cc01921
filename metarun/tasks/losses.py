"""How far predictions are from their targets: cross-entropy for labels, squared error for numbers."""

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
    """Return the mean over everything: what an inner or outer loop minimises."""
    return per_query_loss(predictions, targets).mean()


def correct(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return (...) bool: the largest logit is the label's; never where it is no finite number, as nothing is told."""
    return (predictions.argmax(-1) == labels) & _predicted(predictions)


def confidence(predictions: Tensor) -> Tensor:
    """Return (...) the probability, in [0, 1], that is given to the predicted class; 0 where none is predicted."""
    return torch.softmax(predictions, -1).amax(-1).where(_predicted(predictions), 0.0)


def _predicted(predictions: Tensor) -> Tensor:
    return predictions.amax(-1).isfinite()  # a NaN among them is the largest
