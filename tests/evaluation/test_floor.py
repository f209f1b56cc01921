"""What the floor takes of an example."""

import numpy as np
import pytest
import torch

from metarun.data import ClassDataset, Examples
from metarun.evaluation.floor import floor
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.raw_vectors import floor_vectors
from metarun.tasks.source import task_source


def maps(*rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows)[:, None]  # (n, 1, bands, frames)


def test_over_time_are_mean_and_deviation_of_each_band():
    support = maps([[1.0, 3.0], [5.0, 5.0]])
    vectors, _ = floor_vectors(support, support, "over_time")
    assert vectors.tolist() == [[2.0, 5.0, 1.0, 0.0]]


def test_over_time_the_order_of_frames_does_not_count():
    """A query that is a class in reverse is nearer to the other class, number by number."""
    support = maps([[0.0, 4.0, 8.0]], [[9.0, 5.0, 1.0]])
    query = maps([[8.0, 4.0, 0.0]])
    batch = TaskBatch(support[None], torch.tensor([[0, 1]]), query[None], torch.tensor([[0]]), way=2)
    assert floor(batch)[0, 0].argmax().item() == 1
    assert floor(batch, "over_time")[0, 0].argmax().item() == 0


@pytest.mark.parametrize("kind", ["raw", "over_time"])
def test_streams_and_sources_say_what_the_data_say(kind):
    values = np.zeros((4, 1, 2, 3), np.float32)
    splits = {
        split: Examples.from_classes({f"{split}-{c}": values for c in range(2)}) for split in ("train", "val", "test")
    }
    source = task_source(ClassDataset("d", splits, floor_vectors=kind))
    assert source.floor_vectors == kind
    assert source.stream("test", TaskShape(2, 1, 1), 0, torch.device("cpu"), torch.float32).floor_vectors == kind
