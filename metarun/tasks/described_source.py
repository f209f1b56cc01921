"""A description of data that a method can be built from, in place of the data."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from metarun.tasks.source import TaskSource
from metarun.tasks.stream import StreamSpec, TaskStream

_KEYS = ("name", "kind", "outputs", "floor_vectors", "train_classes")


def describe_source(source: TaskSource) -> dict[str, Any]:
    """Return the attributes of a source that do not need its data, as plain values."""
    inputs = {name: asdict(spec) for name, spec in source.inputs.items()}
    raw = source.raw_inputs
    before = {} if raw is None else {"raw_inputs": {name: asdict(spec) for name, spec in raw.items()}}
    return {**{key: getattr(source, key) for key in _KEYS}, "inputs": inputs, **before}


class DescribedSource(TaskSource):
    """A source without data, from which no task can be drawn: what `describe_source` returned.

    Args:
        description: of the source.

    Raises:
        KeyError, TypeError: it is damaged.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.name, self.kind, self.outputs, self.floor_vectors, self.train_classes = (description[key] for key in _KEYS)
        self.inputs = {
            name: InputSpec(**{**spec, "shape": tuple(spec["shape"])}) for name, spec in description["inputs"].items()
        }

    @property
    def hash(self) -> str:
        """There is none."""
        raise self._no_data()

    def draw_from(self, spec: StreamSpec) -> TaskStream:  # noqa: ARG002
        """There is none."""
        raise self._no_data()

    def _no_data(self) -> UserError:
        return UserError(f"the data of {self.name} are not loaded, so there are no tasks", "load them.")
