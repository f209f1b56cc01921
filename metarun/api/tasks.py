"""The few-shot tasks that metarun trains and tests on, for loops of your own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset

from metarun.api.config import composed
from metarun.data import Split
from metarun.runner.data_loading import load_data
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.stream import TaskSource, TaskStream


class Tasks(IterableDataset[TaskBatch]):
    """A numbered, endless sequence of tasks; iterating yields batches of one task each, from the first on.

    Attributes:
        stream: that draws them.
    """

    def __init__(self, stream: TaskStream) -> None:
        self.stream = stream

    def batch(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`: always the same ones.

        Returns:
            Tensors: `support_x` (count, way * shot, *shape), `support_y` (count, way * shot), `query_x`, `query_y`.
        """
        return self.stream.draw(first, count)

    def __iter__(self) -> Iterator[TaskBatch]:
        """Yield the tasks one by one; of several workers of a DataLoader each yields its share."""
        worker = torch.utils.data.get_worker_info()
        number, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        while self.stream.available is None or number < self.stream.available:
            yield self.stream.draw(number, 1)
            number += step


def load_tasks(
    data: str,
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    split: Split = "test",
    seed: int = 0,
    device: str = "cpu",
    config_dir: str | Path | None = None,
    **settings: Any,
) -> Tasks:
    """Return the tasks of a data set, those that the command line uses for the same numbers.

    Args:
        data: a name from `metarun data list`.
        way: classes in a task; 1 in regression.
        shot: support examples of a class.
        query: query examples of a class.
        split: "train", "val" or "test".
        seed: of the tasks: `test.seed` for val and test, `seed` for train.
        device: where the tensors are.
        config_dir: a folder with YAML files of your own.
        settings: keys of the data set, such as `**{"data.split": "lake"}`.

    Raises:
        UserError: there is no such data set, or it cannot serve such tasks.
    """
    shape = TaskShape(way, shot, query)
    return Tasks(source_of(data, config_dir, settings).stream(split, shape, seed, torch.device(device), torch.float32))


def source_of(data: str, config_dir: str | Path | None, settings: dict[str, Any]) -> TaskSource:
    """Return a data set that tasks can be drawn from."""
    return load_data(composed({"algo": "protonet", "data": data, **settings}, config_dir)["data"])
