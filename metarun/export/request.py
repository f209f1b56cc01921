"""What is exported: a method with its weights, at a way and a number of steps, and the tasks it is checked on."""

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from metarun.algorithms import Algorithm, Stepless
from metarun.api.run import Run
from metarun.config.instantiate import build
from metarun.data.inputs import InputSpec
from metarun.errors import UserError, counted
from metarun.export.graph import Example
from metarun.runner.components import Parts
from metarun.tasks.stream import TaskStream


@dataclass(frozen=True)
class Request:
    """One export.

    Args:
        run: the trained run.
        way: classes per task; 1 in regression.
        steps: of adaptation; 0 if the method takes none.
    """

    run: Run
    way: int
    steps: int

    @classmethod
    def of(cls, run: Run, way: int | None = None, steps: int | None = None) -> "Request":
        """Return the request; the way and the steps are those of the run's meta-test unless given.

        Raises:
            UserError: they are out of range, or the method cannot have this way or takes no steps.
        """
        test_way = int(run.result["test_way"])
        wanted = test_way if way is None else way
        outputs = run.algorithm.outputs
        if wanted != test_way and (outputs is not None or run.result.get("chance") is None):
            raise UserError(
                f"--way={wanted} but {run.result['algo']} {run.id} has a head for {counted(outputs or 1, 'output')}",
                "omit it, or export a method without a fixed head, such as protonet.",
            )
        if wanted < 1 or (wanted < 2 and run.result.get("chance") is not None):
            raise UserError(f"--way={wanted} but a task needs at least 2 classes", "raise it.")
        if isinstance(run.algorithm, Stepless):
            if steps:
                raise UserError(f"--steps={steps} but {run.result['algo']} takes no steps", "omit it.")
            return cls(run, wanted, 0)
        asked = int(run.config["test"]["steps"]) if steps is None else steps
        if asked < 0:
            raise UserError(f"--steps={asked} but it cannot be negative", "raise it.")
        return cls(run, wanted, asked)

    @cached_property
    def algorithm(self) -> Algorithm:
        """A copy of the method on the CPU, in float32."""
        algorithm = copy.deepcopy(self.run.algorithm).cpu().float().eval()
        return algorithm.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]

    @cached_property
    def _parts(self) -> Parts:
        parts = Parts({**self.run.config, "device": "cpu", "precision": "float32"})
        parts.is_trained = True
        parts.method = self.run.algorithm
        return parts

    @property
    def input(self) -> InputSpec:
        """The only field of an example."""
        return next(iter(self._parts.source.inputs.values()))

    @property
    def fields(self) -> dict[str, InputSpec]:
        """The fields of an example by name."""
        return dict(self._parts.source.inputs)

    @property
    def outputs(self) -> int:
        """The number of logits of a query, or of predicted numbers in regression."""
        return self._parts.source.outputs or self.way

    @property
    def licence(self) -> str:
        """The licence of the data, one line, as `metarun data list` shows it."""
        return str(getattr(build("data", self.run.config["data"]), "licence", "not known"))

    def stream(self, more_shots: bool = False) -> TaskStream:
        """Return the run's meta-test tasks at this way; or with one more shot and half of the queries."""
        parts = self._parts
        shape = replace(parts.test_shape, way=self.way)
        if more_shots:
            shape = replace(shape, shot=shape.shot + 1, query=(shape.query + 1) // 2)
        if shape == parts.test_shape:
            return parts.test_stream
        return parts.stream("test", shape, self.run.config["test"]["seed"])

    def example(self) -> Example:
        """Return the first meta-test task, as it is traced: with numbers of examples that differ and exceed 1."""
        task = self.stream().draw(0, 1)
        support_x, support_y, query_x = task.support_x, task.support_y, task.query_x
        assert isinstance(support_x, torch.Tensor)
        assert isinstance(query_x, torch.Tensor)
        x, y, queries = support_x[0], support_y[0], query_x[0]
        if x.shape[0] == 1:
            x, y = torch.cat([x, x]), torch.cat([y, y])
        while queries.shape[0] in (1, x.shape[0]):
            queries = torch.cat([queries, queries[:1]])
        return Example(x, y, queries, self.way)
