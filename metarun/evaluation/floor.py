"""The floor: predictions without any learning, which every method must beat."""

from functools import partial

import torch
from torch import Tensor

from metarun.algorithms.protonet import prototypes, squared_distances
from metarun.data.examples import FloorVectors
from metarun.evaluation.evaluate import Evaluation, evaluate_predictions
from metarun.system.inputs import Inputs, rows
from metarun.system.progress import OnProgress, ignore_progress
from metarun.tasks.batch import TaskBatch
from metarun.tasks.raw_vectors import floor_vectors
from metarun.tasks.stream import TaskStream


def evaluate_floor(stream: TaskStream, tasks: int, on_progress: OnProgress = ignore_progress) -> Evaluation:
    """Evaluate the floor on the first `tasks` of a stream, see `evaluate_predictions`."""
    return evaluate_predictions(partial(floor, vectors=stream.floor_vectors), stream, tasks, on_progress)


def floor(tasks: TaskBatch, vectors: FloorVectors = "raw") -> Tensor:
    """Predict each query by the nearest class mean of raw inputs or, in regression, by the mean support target.

    Args:
        tasks: of any kind.
        vectors: what is taken of an input, see `ClassDataset`.

    Returns:
        (1, T, way * query, way) logits, or (1, T, query, 1) values.
    """
    if tasks.regression:
        return tasks.support_y.mean(1, keepdim=True).expand_as(tasks.query_y)[None]

    def logits(support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
        support, query = floor_vectors(support_x, query_x, vectors)
        return -squared_distances(query, prototypes(support, support_y, tasks.way))

    if isinstance(tasks.support_x, Tensor) and tasks.support_x.is_floating_point():
        return torch.func.vmap(logits)(tasks.support_x, tasks.support_y, tasks.query_x)[None]
    each = zip(rows(tasks.support_x), tasks.support_y, rows(tasks.query_x), strict=True)
    return torch.stack([logits(*task) for task in each])[None]  # what differs between tasks cannot be vectorised
