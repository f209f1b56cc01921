"""A stream whose examples are changed at random, each by a key of its own."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from metarun.data.examples import FloorVectors
from metarun.system.inputs import Inputs, to_device
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.rng import root_key, split_key
from metarun.tasks.stream import TaskStream
from metarun.tasks.varying_stream import numbered_batches

Augmentation = Callable[[Tensor, Tensor], Tensor]  # (n, *shape) examples and (n,) keys -> (n, *shape)


class AugmentedStream:
    """The tasks of a stream with changed examples; the changes depend on the seed and the task's number alone.

    So a resumed training, one split among processes, or one with fewer tasks at once sees the same examples. Support
    and query examples have keys of their own, and so has each change, so that adding one leaves the others as they are.

    Args:
        stream: whose examples are single tensors.
        changes: made in this order, by name.
        seed: of the random numbers, and further words if streams of one seed are to differ.
        keeps_first: leave the first support example of each class as it is: tasks whose classes are single examples
            have it once, and changed copies in all other places.
    """

    def __init__(
        self, stream: TaskStream, changes: Mapping[str, Augmentation], *seed: object, keeps_first: bool = False
    ) -> None:
        self.stream = stream
        self.shape: TaskShape = stream.shape
        self.available = stream.available
        self.floor_vectors: FloorVectors = stream.floor_vectors
        self._changes = [(root_key("augment", name, *seed), change) for name, change in changes.items()]
        self._keeps_first = keeps_first
        self._identity = f"{[*changes.items()]}|{seed}"

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1` with changed examples."""
        return self._changed(self.stream.draw(first, count), torch.arange(first, first + count))

    def batches(self, first: int, count: int) -> Iterator[TaskBatch]:
        """Yield such tasks, those of one shape together."""
        for tasks, numbers in numbered_batches(self.stream, first, count):
            yield self._changed(tasks, numbers)

    def _changed(self, tasks: TaskBatch, numbers: Tensor) -> TaskBatch:
        keys = 2 * to_device(numbers, tasks.device)
        support_x, query_x = self._change(tasks.support_x, keys), self._change(tasks.query_x, keys + 1)
        if self._keeps_first:
            assert isinstance(tasks.support_x, Tensor)
            first = slice(None, None, self.shape.shot)  # examples are by class
            support_x[:, first] = tasks.support_x[:, first]
        return replace(tasks, support_x=support_x, query_x=query_x)

    def _change(self, x: Inputs, numbers: Tensor) -> Tensor:
        """Return (T, n, *shape) changed examples of T tasks; (T,) numbers of their support or query sets."""
        assert isinstance(x, Tensor), "checked by `augmentations`"
        examples = torch.arange(x.shape[1], device=x.device)
        changed = x.flatten(0, 1)
        for key, change in self._changes:
            changed = change(changed, split_key(split_key(key, numbers)[:, None], examples).flatten())
        return changed.reshape(x.shape)

    def hash(self, count: int) -> str:
        """Return the hash of the tasks, which augmentation leaves as they are unless it makes their examples."""
        found = self.stream.hash(count)
        return hashlib.sha256(f"{found}|{self._identity}".encode()).hexdigest() if self._keeps_first else found
