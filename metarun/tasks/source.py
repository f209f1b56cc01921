"""What tasks are drawn from: data sets of classes or entities, several of them, and families of functions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from metarun.config.key_origins import set_by
from metarun.data import ClassDataset, EntityDataset, Examples, FunctionFamily, MixedDatasets, Split
from metarun.data.display import Display
from metarun.data.environments.family import EnvironmentFamily
from metarun.data.examples import FloorVectors
from metarun.data.inputs import InputSpec, input_specs
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.entity_stream import EntityTaskStream
from metarun.tasks.families import check_family, family_hash, output_count
from metarun.tasks.function_stream import FunctionTaskStream
from metarun.tasks.mixture_stream import EachSetStream, MixtureStream
from metarun.tasks.stream import Kind, StreamSpec, TaskStream
from metarun.tasks.varying_stream import VaryingTaskStream


class TaskSource:
    """Data that tasks can be drawn from.

    Attributes:
        data: what was loaded.
        name: what messages call it.
        kind: of its tasks.
        inputs: the fields of one example by name.
        splits: the stored examples by class; None in regression.
        outputs: how many numbers are predicted of an example; None in classification, where it is the tasks' way.
        train_classes: how many classes meta-train has; None in regression.
        floor_vectors: what the floor takes of an example, see `ClassDataset`.
        tested_sets: how many data sets a meta-test has as many tasks of.
        display: returns how examples are shown to people.
        raw_inputs: the fields of an example before a pre-trained encoder; None: there is no encoder.
    """

    kind: Kind
    splits: Mapping[Split, Examples] | None = None
    floor_vectors: FloorVectors = "raw"
    outputs: int | None = None
    tested_sets: int = 1
    train_classes: int | None = None
    display: Callable[[], Display] = Display
    raw_inputs: Mapping[str, InputSpec] | None = None
    _stream: Callable[..., TaskStream]  # the class of its streams

    def __init__(
        self,
        data: ClassDataset | EntityDataset | MixedDatasets | FunctionFamily | EnvironmentFamily,
        inputs: Mapping[str, InputSpec],
    ) -> None:
        self.data = data
        self.name: str = data.name
        self.inputs = inputs

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one example; of several fields, of the first."""
        return next(iter(self.inputs.values())).shape

    @property
    def hash(self) -> str:
        """A SHA-256: equal hashes mean equal tasks."""
        return self.data.hash

    def stream(
        self,
        split: Split,
        shape: TaskShape,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        disjoint: bool = False,
    ) -> TaskStream:
        """Return the stream that draws from a split; the arguments are those of `StreamSpec`.

        Raises:
            UserError: the split cannot serve such tasks; the message names the class and the numbers.
        """
        return self.draw_from(StreamSpec(split, shape, seed, device, dtype, disjoint))

    def draw_from(self, spec: StreamSpec) -> TaskStream:
        """See `stream`."""
        shape = spec.shape
        if shape.smallest is None:
            return self._stream(self.data, spec)
        if spec.disjoint:
            raise UserError(f"{shape.sizes} but test.interval=open needs tasks of one size", "set it to closed.")
        largest = self._stream(self.data, replace(spec, shape=replace(shape, smallest=None)))
        if not isinstance(largest, ClassTaskStream):
            raise UserError(f"{shape.sizes} but all tasks of {self.name} have one size", "give numbers, not ranges.")
        return VaryingTaskStream(largest, shape.smallest, spec.seed)


def task_source(data: Any) -> TaskSource:
    """Return loaded data as a source of tasks.

    Raises:
        UserError: it is neither a data set of classes or entities, nor several of classes, nor a family of functions.
    """
    if isinstance(data, ClassDataset):
        return ClassSource(data)
    if isinstance(data, EntityDataset):
        return EntitySource(data)
    if isinstance(data, MixedDatasets):
        return MixtureSource(data)
    check_family(data)
    return FunctionSource(data)


class ClassSource(TaskSource):
    """A data set of classes, from which classification tasks are drawn."""

    kind = "classification"
    _stream = ClassTaskStream

    def __init__(self, data: ClassDataset) -> None:
        super().__init__(data, data.inputs)
        self.splits = data.splits
        self.train_classes = len(data.splits["train"].class_names)
        self.floor_vectors = data.floor_vectors
        self.display = data.display


class EntitySource(TaskSource):
    """A data set of entities, from which regression tasks are drawn."""

    kind = "regression"
    _stream = EntityTaskStream

    def __init__(self, data: EntityDataset) -> None:
        super().__init__(data, data.inputs)
        self.outputs = data.outputs
        self.display = data.rows.display


class FunctionSource(TaskSource):
    """A family of functions, from which regression tasks are drawn."""

    kind = "regression"
    _stream = FunctionTaskStream

    def __init__(self, data: FunctionFamily) -> None:
        super().__init__(data, input_specs(np.dtype(np.float32), data.shape))
        self.outputs = output_count(data)
        self._family = data

    @property
    def hash(self) -> str:
        """See `TaskSource`; of a user's family its code and attributes are in it too."""
        return family_hash(self._family)


class MixtureSource(TaskSource):
    """Several data sets of classes: a meta-training or meta-val task is from one of them, and meta-test has all."""

    kind = "classification"

    def __init__(self, data: MixedDatasets) -> None:
        super().__init__(data, data.inputs)
        self.splits = data.splits
        self.train_classes = len(data.splits["train"].class_names)
        self.floor_vectors = data.floor_vectors
        self.tested_sets = len(data.parts)
        self._parts, self._weights = data.parts, data.weights

    def draw_from(self, spec: StreamSpec) -> TaskStream:
        """See `TaskSource`."""
        if spec.disjoint:
            raise UserError(
                f"test.interval=open{set_by('test.interval')} but data={self.name} names several data sets",
                "use test.interval=closed, or test a run on each with `metarun test run=RUN data=NAME`.",
            )
        if spec.shape.smallest is not None and spec.split != "test":
            raise UserError(
                f"{spec.shape.sizes} but data={self.name} names several data sets, whose tasks have one size in "
                f"meta-{spec.split}",
                "give numbers, not ranges; `metarun test` takes ranges.",
            )
        streams = {name: ClassSource(part).draw_from(spec) for name, part in self._parts.items()}
        if spec.split == "test":
            return EachSetStream(streams)
        of_classes = {name: each for name, each in streams.items() if isinstance(each, ClassTaskStream)}
        return MixtureStream(of_classes, self._weights, spec.split, spec.seed)
