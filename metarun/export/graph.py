"""Trace adaptation and prediction of a method into one graph of core operators, from which every format is made."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim, ExportedProgram
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from metarun.algorithms import Algorithm, Stepless
from metarun.export.decompositions import decompositions
from metarun.tasks.batch import Support

INPUTS = ("support_x", "support_y", "query_x")


@dataclass(frozen=True)
class Example:
    """One task's inputs.

    Args:
        support_x: (n, *shape).
        support_y: (n) labels, or (n, outputs) numbers in regression.
        query_x: (m, *shape).
        way: classes.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    way: int

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """The inputs of the exported model, in the order of `INPUTS`."""
        return self.support_x, self.support_y, self.query_x


class AdaptAndPredict(nn.Module):
    """A method as one function: support set and queries in, logits after `steps` of adaptation out."""

    def __init__(self, algorithm: Algorithm, way: int, steps: int) -> None:
        super().__init__()
        self.algorithm = algorithm
        self.way, self.steps = way, steps

    def forward(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """Return (m, way) logits, or (m, outputs) numbers in regression."""
        for adapted in self.algorithm.adapt(Support(support_x, support_y, self.way), self.steps):
            last = adapted
        return last.predict(query_x)


class _Traced(nn.Module):
    """A traced graph with its weights, under their names in the method."""

    def __init__(self, graph: fx.GraphModule, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self._graph = graph
        self._names = {name: name.replace(".", "_") for name in weights}
        for name, weight in weights.items():
            self.register_buffer(self._names[name], weight.detach().clone())

    def forward(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        weights = {name: getattr(self, buffer) for name, buffer in self._names.items()}
        logits: Tensor = self._graph(weights, support_x, support_y, query_x)
        return logits


def trace(algorithm: Algorithm, example: Example, steps: int) -> ExportedProgram:
    """Return a method with its weights as a program of core operators; shots and queries are dynamic.

    Inner gradient steps are part of it: the derivatives are traced operator by operator, which `torch.export` alone
    cannot do. Weights are arguments of the traced function, so that no step takes them for constants.

    Args:
        algorithm: in eval mode, on the CPU.
        example: a task; its support set and its queries differ in number.
        steps: of adaptation.
    """
    function = AdaptAndPredict(algorithm, example.way, steps)
    weights: dict[str, Tensor] = {**dict(function.named_parameters()), **dict(function.named_buffers())}

    def run(weights: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        found: Tensor = functional_call(function, weights, inputs)
        return found

    table = decompositions(adapts_network=not (isinstance(algorithm, Stepless) or algorithm.predicts_from_features))
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    fakes = {name: mode.from_tensor(weight, static_shapes=True) for name, weight in weights.items()}
    inputs = [_dynamic(mode, name, tensor) for name, tensor in zip(INPUTS, example.inputs, strict=True)]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its internals
        graph = make_fx(run, table, tracing_mode="symbolic")(fakes, *inputs)
        _simplify(graph)
        size = {0: Dim.DYNAMIC}
        return torch.export.export(_Traced(graph, weights), example.inputs, dynamic_shapes=(size, size, size))


def _dynamic(mode: FakeTensorMode, name: str, tensor: Tensor) -> Tensor:
    """Return a tensor without data whose first dimension may have any size."""
    sizes = [DimDynamic.DYNAMIC, *[DimDynamic.STATIC] * (tensor.ndim - 1)]
    context: StatelessSymbolicContext[Any, Any] = StatelessSymbolicContext(dynamic_sizes=sizes)
    return mode.from_tensor(tensor, symbolic_context=context, source=ConstantSource(name))


def _simplify(graph: fx.GraphModule) -> None:
    """Remove assertions, which other formats do not have, and what nothing uses."""
    for node in list(graph.graph.nodes):
        if not node.users and any(part in str(node.target) for part in ("assert", "constrain_range")):
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
