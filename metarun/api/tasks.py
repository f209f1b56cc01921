"""The few-shot tasks of metarun, for your own training loop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset

from metarun.api.config import compose_config
from metarun.data import Split
from metarun.runner.data_loading import load_data
from metarun.runner.device import find_device
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.source import TaskSource
from metarun.tasks.stream import TaskStream


class Tasks(IterableDataset[TaskBatch]):
    """A numbered, endless sequence of tasks; iterating yields batches of one task each, from the first on.

    Attributes:
        stream: the stream that draws them.
    """

    def __init__(self, stream: TaskStream) -> None:
        self.stream = stream

    def batch(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`, which are always the same.

        Returns:
            Tensors: `support_x` (count, way * shot, *shape), `support_y` (count, way * shot), `query_x`, `query_y`.
        """
        return self.stream.draw(first, count)

    def __iter__(self) -> Iterator[TaskBatch]:
        """Yield batches of one task; each worker of a DataLoader yields its share."""
        worker = torch.utils.data.get_worker_info()
        i, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        while self.stream.available is None or i < self.stream.available:
            yield self.stream.draw(i, 1)
            i += step


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
    """Return the tasks of a data set, the same as those of the command line.

    Args:
        data: a name from `metarun data list`.
        way: classes per task; 1 in regression.
        shot: support examples per class.
        query: query examples per class.
        split: "train", "val" or "test".
        seed: of the tasks: `test.seed` for val and test, `seed` for train.
        device: of the tensors; "auto": a GPU if there is one.
        config_dir: a folder with your own YAML files.
        settings: keys of the data set, such as `**{"data.split": "lake"}`.

    Raises:
        UserError: the data set or the device does not exist, or the data set is too small for such tasks.
    """
    shape = TaskShape(way, shot, query)
    return Tasks(load_source(data, config_dir, settings).stream(split, shape, seed, find_device(device), torch.float32))


def load_source(data: str, config_dir: str | Path | None, settings: dict[str, Any]) -> TaskSource:
    """Load a data set as a source of tasks."""
    return load_data(compose_config({"algo": "protonet", "data": data, **settings}, config_dir)["data"])
