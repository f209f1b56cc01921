"""Queries that belong to no class of their task, by which a test asks whether a method notices what is unknown."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from metarun.config.key_origins import knob, set_by
from metarun.errors import UserError, counted
from metarun.system.inputs import Inputs, map_inputs
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.mixture_stream import EachSetStream
from metarun.tasks.stream import TaskStream
from metarun.tasks.varying_stream import VaryingTaskStream

Kind = Literal["unknown", "out_of_scope"]


@dataclass(frozen=True)
class UnknownQueries:
    """Which unknown queries a task has, drawn from the task's own key.

    Args:
        kind: "unknown": of other classes of the split, as in open-set few-shot learning (Liu et al. 2020, PEELER,
            https://arxiv.org/abs/2005.13713); "out_of_scope": examples of no class that the data set has for this.
        count: how many classes, each with as many queries as a class of the task; or how many queries.
    """

    kind: Kind
    count: int

    def draw(self, stream: ClassTaskStream, first: int, count: int) -> Inputs:
        """Return (count, queries, *shape) the unknown queries of tasks `first` to `first + count - 1`."""
        if self.kind == "unknown":
            return stream.of_other_classes(first, count, self.count)
        return stream.out_of_scope(first, count, self.count)

    def queries(self, shape: TaskShape) -> int:
        """Return how many unknown queries a task has."""
        return self.count * shape.query if self.kind == "unknown" else self.count


class WithUnknown:
    """The tasks of a stream, with unknown queries after their own.

    The labels of the unknown queries are -1.

    Args:
        stream: of equal tasks.
        unknown: the queries to add.
    """

    available: int | None = None

    def __init__(self, stream: ClassTaskStream, unknown: UnknownQueries) -> None:
        self._stream, self._unknown = stream, unknown
        self.floor_vectors = stream.floor_vectors
        self.known = stream.shape.way * stream.shape.query
        more = math.ceil(unknown.queries(stream.shape) / stream.shape.way)  # per class, for how many fit in memory
        self.shape = replace(stream.shape, query=stream.shape.query + more)

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`."""
        tasks = self._stream.draw(first, count)
        unknown = self._unknown.draw(self._stream, first, count)
        query_x = map_inputs(lambda *both: torch.cat(both, 1), tasks.query_x, unknown)
        labels = tasks.query_y.new_full((count, self._unknown.queries(self._stream.shape)), -1)
        return replace(tasks, query_x=query_x, query_y=torch.cat([tasks.query_y, labels], 1))

    def hash(self, count: int) -> str:
        """Return the hash of the tasks without the unknown queries."""
        return self._stream.hash(count)


def unknown_queries(classes: int, out_of_scope: int, stream: TaskStream) -> tuple[UnknownQueries, ...]:
    """Return the unknown queries that a test asks for.

    Args:
        classes: `test.unknown`.
        out_of_scope: `test.out_of_scope`.
        stream: of the meta-test tasks.

    Raises:
        UserError: a number is negative, or the data cannot serve it.
    """
    asked: dict[Kind, int] = {"unknown": classes, "out_of_scope": out_of_scope}
    for kind, count in asked.items():
        if count < 0:
            raise UserError(f"test.{kind}={count} but it cannot be negative", f"raise {knob(f'test.{kind}', count)}.")
    found = tuple(UnknownQueries(kind, count) for kind, count in asked.items() if count)
    sets = stream.streams if isinstance(stream, EachSetStream) else {"": stream}
    for each in found:
        for name, of_set in sets.items():
            # What the largest tasks leave is enough for all.
            largest = of_set.largest if isinstance(of_set, VaryingTaskStream) else of_set
            _check_can_serve(each, largest, name)
    return found


def _check_can_serve(unknown: UnknownQueries, stream: TaskStream, name: str) -> None:
    """Raise a UserError if a stream has too little for some unknown queries; `name` is of one of several data sets."""
    key = f"test.{unknown.kind}"
    setting = f"{key}={unknown.count}{set_by(key)}"
    of_name = f" of {name}" if name else ""
    if not isinstance(stream, ClassTaskStream):
        raise UserError(f"{setting} but the tasks are regression, which has no classes", f"set `{key}=0`.")
    if stream.available is not None:
        raise UserError(f"{setting} but test.interval=open leaves no examples for it", "set test.interval=closed.")
    left = stream.class_count - stream.shape.way
    if unknown.kind == "unknown" and unknown.count > left:
        raise UserError(
            f"{setting} but the split{of_name} has {counted(stream.class_count, 'class')}, of which a task can have "
            f"{stream.shape.way}",
            f"lower {knob(key, unknown.count)} or {stream.shape.knob('way')}.",
        )
    if unknown.kind == "unknown" and stream.smallest_class < stream.shape.query:
        raise UserError(
            f"{setting} with {stream.shape.query} queries each but a class{of_name} has "
            f"{stream.smallest_class} examples",
            f"lower {stream.shape.knob('query')}.",
        )
    if unknown.kind == "out_of_scope" and unknown.count > stream.out_of_scope_count:
        has = counted(stream.out_of_scope_count, "example") if stream.out_of_scope_count else "no examples"
        raise UserError(
            f"{setting} but {f'{name} has' if name else 'these data have'} {has} out of scope",
            f"lower {knob(key, unknown.count)}."
            if stream.out_of_scope_count
            else "set `test.unknown=5`, which takes other classes of the split, or use data=clinc150.",
        )
