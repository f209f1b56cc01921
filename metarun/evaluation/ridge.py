"""Ridge regression of each task's support set: the linear floor of regression, for which nothing is meta-learned."""

import torch
from torch import Tensor

from metarun.tasks.batch import TaskBatch, chunks
from metarun.tasks.losses import per_query_loss
from metarun.tasks.stream import TaskStream

RATES = tuple(10.0**power for power in range(-4, 5))
TASKS = 200  # of meta-val, by which the rate is chosen
_AT_ONCE = 50


def predict_by_ridge(tasks: TaskBatch, rate: float) -> Tensor:
    """Predict every query by the ridge regression of its task's support set.

    The weights minimise |Y - X W - b|^2 + rate |W|^2; the intercept b is not penalised, so that a large rate leads to
    the mean of the support targets. Solved in float64 by a system of as many equations as there are support rows:
    W = X' (X X' + rate I)^-1 Y, with X and Y centred.

    Args:
        tasks: of regression, whose examples are one array of floats.
        rate: above 0.

    Returns:
        (1, T, query, outputs).
    """
    assert isinstance(tasks.support_x, Tensor)
    assert isinstance(tasks.query_x, Tensor)
    support, query = (x.flatten(2).double() for x in (tasks.support_x, tasks.query_x))
    x_mean, y_mean = support.mean(1, keepdim=True), tasks.support_y.double().mean(1, keepdim=True)
    x, y = support - x_mean, tasks.support_y.double() - y_mean
    gram = x @ x.mT + rate * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)  # (T, shot, shot)
    weights = x.mT @ torch.linalg.solve(gram, y)  # (T, numbers, outputs)
    predictions: Tensor = (query - x_mean) @ weights + y_mean
    return predictions.to(tasks.support_y.dtype)[None]


def choose_rate(stream: TaskStream) -> float:
    """Return the rate of `RATES` with the least squared error on the first tasks of a stream of meta-val."""
    count = min(TASKS, stream.available or TASKS)
    errors = torch.zeros(len(RATES), dtype=torch.float64)
    for first, size in chunks(count, _AT_ONCE):
        tasks = stream.draw(first, size)
        for i, rate in enumerate(RATES):
            errors[i] += per_query_loss(predict_by_ridge(tasks, rate)[0], tasks.query_y).double().mean(-1).sum().cpu()
    return RATES[int(errors.argmin())]
