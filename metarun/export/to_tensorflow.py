"""A traced model as a TensorFlow SavedModel."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from metarun.errors import UserError
from metarun.export.graph import INPUTS
from metarun.export.model import OUTPUT, Array, Solve

FILE = "saved_model"
CALL = """\
import numpy as np
import tensorflow as tf

model = tf.saved_model.load("saved_model").signatures["serving_default"]
example = np.load("example.npz")
inputs = {name: tf.constant(example[name]) for name in ("support_x", "support_y", "query_x")}
logits = model(**inputs)["logits"].numpy()
"""


def check_installed(name: str = "tensorflow") -> None:
    """Raise a UserError if a package is missing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # a dozen lines about the processor
    try:
        import tensorflow as tf
    except ImportError as error:
        raise UserError(f"format={name} needs tensorflow ({error})", "pip install 'metarun[tensorflow]'.") from error
    tf.get_logger().setLevel("ERROR")


def versions() -> dict[str, str]:
    """Return the packages that wrote and checked the file."""
    import tensorflow as tf

    return {"torch": torch.__version__, "tensorflow": tf.__version__}


def write(program: ExportedProgram, folder: Path) -> None:
    """Write the model into a folder."""
    import tensorflow as tf

    module, function = as_function(program)
    tf.saved_model.save(module, str(folder / FILE), signatures={"serving_default": function})


def as_function(program: ExportedProgram) -> tuple[Any, Any]:
    """Return a `tf.Module` that holds the weights, and its concrete function."""
    import tensorflow as tf

    module = tf.Module()
    lifted = {
        spec.arg.name: spec.target
        for spec in program.graph_signature.input_specs
        if spec.kind is not InputKind.USER_INPUT
    }
    tensors = {**program.state_dict, **program.constants}
    module.weights = {
        name.removeprefix("b_"): tf.Variable(tensors[target].numpy(), trainable=False, name=name)
        for name, target in lifted.items()
    }

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def adapt_and_predict(support_x: Any, support_y: Any, query_x: Any) -> dict[str, Any]:
        inputs = dict(zip(INPUTS, (support_x, support_y, query_x), strict=True))
        weights = {name: module.weights[name.removeprefix("b_")] for name in lifted}
        return {OUTPUT: _run(program.graph, {**inputs, **{n: tf.convert_to_tensor(w) for n, w in weights.items()}})}

    module.adapt_and_predict = adapt_and_predict
    shapes = {node.name: node.meta["val"] for node in program.graph.nodes if node.name in INPUTS}
    dtypes = {torch.float32: tf.float32, torch.int64: tf.int64}
    specs = [tf.TensorSpec([None, *shapes[name].shape[1:]], dtypes[shapes[name].dtype], name) for name in INPUTS]
    return module, adapt_and_predict.get_concrete_function(*specs)


def _run(graph: fx.Graph, values: dict[str, Any]) -> Any:
    """Build the graph in TensorFlow, given its inputs by name; return its output."""
    from metarun.export.tensorflow_operators import OPERATORS

    found: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            found[node] = values[node.name]
        elif node.op == "output":
            (last,) = node.args[0]
            return found[last]
        elif node.target in OPERATORS:
            args, kwargs = fx.map_arg((node.args, node.kwargs), found.__getitem__)
            found[node] = OPERATORS[node.target](*args, **kwargs)
        elif node.users:
            raise UserError(f"TensorFlow has no translation of {node.target} yet", "export with format=onnx or torch.")
    raise AssertionError("a graph ends with its output")


def load(folder: Path) -> Solve:
    """Return the stored model as a function."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / FILE))
    function = loaded.signatures["serving_default"]

    def solve(*inputs: Array) -> Array:
        tensors = {name: tf.constant(array) for name, array in zip(INPUTS, inputs, strict=True)}
        found: Array = function(**tensors)[OUTPUT].numpy()
        return found

    return solve
