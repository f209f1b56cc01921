"""A traced model as ONNX, for onnxruntime in any language."""

from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from metarun.errors import UserError, printable
from metarun.export.graph import INPUTS
from metarun.export.model import OUTPUT, Array, Solve

FILE = "model.onnx"
CALL = """\
import numpy as np
import onnxruntime

model = onnxruntime.InferenceSession("model.onnx")
example = np.load("example.npz")
inputs = {name: example[name] for name in ("support_x", "support_y", "query_x")}
(logits,) = model.run(["logits"], inputs)
"""


def check_installed() -> None:
    """Raise a UserError if a package is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        what = f"format=onnx needs onnx, onnxscript and onnxruntime ({error})"
        raise UserError(what, "pip install 'metarun[onnx]'.") from error


def versions() -> dict[str, str]:
    """Return the packages that wrote and checked the file."""
    import onnx
    import onnxruntime
    import onnxscript

    packages = (onnx, onnxscript, onnxruntime)
    return {"torch": torch.__version__, **{package.__name__: str(package.__version__) for package in packages}}


def write(program: ExportedProgram, folder: Path) -> None:
    """Write the model into a folder."""
    import onnx

    try:
        written = torch.onnx.export(
            program, input_names=list(INPUTS), output_names=[OUTPUT], dynamo=True, verbose=False
        )
    except torch.onnx.OnnxExporterError as error:
        cause = printable(" ".join(str(error.__cause__ or error).split())[:200])
        raise UserError(f"this model cannot be written as ONNX ({cause})", "use format=torch.") from error
    assert written is not None
    model = written.model_proto
    _strip(model)
    _name_sizes(model.graph)
    onnx.save(model, folder / FILE)


def _strip(model: Any) -> None:
    """Remove the stack traces of the exporter: hundreds of kB, with paths of this machine."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del part.metadata_props[:]
    for each in (model.graph, *model.graph.node):
        each.doc_string = ""


def _name_sizes(graph: Any) -> None:
    """Call the sizes that may differ between tasks "support" and "query"."""
    for value, name in zip((*graph.input, *graph.output), ("support", "support", "query", "query"), strict=True):
        value.type.tensor_type.shape.dim[0].dim_param = name
    del graph.value_info[:]  # sizes of inner values, under the exporter's names


def load(folder: Path) -> Solve:
    """Return the stored model as a function."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # as torch, to compare times
    session = onnxruntime.InferenceSession(folder / FILE, options, providers=["CPUExecutionProvider"])

    def solve(*inputs: Array) -> Array:
        found: Array = session.run([OUTPUT], dict(zip(INPUTS, inputs, strict=True)))[0]
        return found

    return solve
