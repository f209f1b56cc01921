"""A traced model as LiteRT (TensorFlow Lite), for phones and small devices; built-in operators only."""

from pathlib import Path

import torch
from torch.export import ExportedProgram

from metarun.errors import UserError
from metarun.export import to_tensorflow
from metarun.export.graph import INPUTS
from metarun.export.model import OUTPUT, Array, Solve

FILE = "model.tflite"
CALL = """\
import numpy as np
import tensorflow as tf  # or, without TensorFlow: from ai_edge_litert.interpreter import Interpreter

model = tf.lite.Interpreter("model.tflite").get_signature_runner()
example = np.load("example.npz")
inputs = {name: example[name] for name in ("support_x", "support_y", "query_x")}
logits = model(**inputs)["logits"]
"""


def check_installed() -> None:
    """Raise a UserError if a package is missing."""
    to_tensorflow.check_installed("litert")


versions = to_tensorflow.versions


def write(program: ExportedProgram, folder: Path) -> None:
    """Write the model into a folder."""
    import tensorflow as tf

    module, function = to_tensorflow.as_function(program)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except Exception as error:  # several types, with the operators in the text
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"LiteRT cannot run this model ({first})", "export with format=tensorflow or onnx.") from error
    (folder / FILE).write_bytes(content)


def load(folder: Path) -> Solve:
    """Return the stored model as a function."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(folder / FILE), num_threads=torch.get_num_threads())
    runner = interpreter.get_signature_runner()

    def solve(*inputs: Array) -> Array:
        found: Array = runner(**dict(zip(INPUTS, inputs, strict=True)))[OUTPUT]
        return found.copy()

    return solve
