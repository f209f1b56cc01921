"""Every format, run for real: equal to torch on meta-test tasks. `make test-onnx` and `make test-tensorflow`."""

import json
import os
import re
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch

import metarun as library
from metarun.export import export
from metarun.export.methods import EXPORTED

SMALL = {
    "data": "glyphs",
    "backbone.filters": 8,
    "train.iterations": 2,
    "train.validate_every": 2,
    "train.validate_tasks": 2,
    "train.meta_batch": 1,
    "test.tasks": 4,
    "task.query": 2,
}
ONNX = pytest.param("onnx", marks=pytest.mark.onnx)
TENSORFLOW = [pytest.param(name, marks=pytest.mark.tensorflow) for name in ("tensorflow", "litert")]
SHOWN = [("protonet", 0), ("simpleshot", 0), ("r2d2", 0), ("maml", 1), ("maml", 5), ("anil", 5)]

pytestmark = [pytest.mark.slow, pytest.mark.sampled, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats") / "results"


def trained(results: Path, algo: str, **settings: object) -> library.Run:
    return library.train(algo=algo, results_dir=str(results), **{**SMALL, **settings})


@pytest.mark.parametrize(("algo", "steps"), SHOWN)
@pytest.mark.parametrize("name", ["torch", ONNX, *TENSORFLOW])
def test_a_model_equals_torch_on_a_hundred_tasks(name, algo, steps, results, tmp_path):
    # Many large steps of a network that is hardly trained amplify the rounding of float32, in torch as well.
    settings = {"algo.inner_lr": 0.1} if steps > 1 else {}
    made = export(trained(results, algo, **settings), name, tmp_path / "made", steps=steps)
    assert made.checked.tasks == 120
    assert made.checked.largest_difference <= 1e-4
    card = (made.folder / "README.md").read_text()
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", snippet], cwd=made.folder, env=environment, check=True, timeout=120)


@pytest.mark.parametrize("algo", sorted({*EXPORTED, "fomaml"} - {algo for algo, _ in SHOWN}))
@pytest.mark.parametrize("name", [ONNX, *TENSORFLOW])
def test_every_other_method(name, algo, results, tmp_path):
    steps = 0 if algo == "nearest_centroid" else 2
    made = export(trained(results, algo), name, tmp_path / "made", steps=steps, tasks=5)
    assert made.checked.largest_difference <= 1e-4


@pytest.mark.parametrize("norm", ["support", "running", "layer", "instance", "group", "tasknorm", "none"])
@pytest.mark.onnx
def test_every_norm(norm, results, tmp_path):
    run = trained(results, "protonet", **{"backbone.norm": norm})
    assert export(run, "onnx", tmp_path / "made", tasks=5).checked.largest_difference <= 1e-4


@pytest.mark.parametrize("backbone", ["mlp", "resnet12", "resnet18", "wrn28_10"])
@pytest.mark.parametrize("name", [ONNX, *TENSORFLOW])
def test_every_backbone(name, backbone, results, tmp_path):
    settings = {key: value for key, value in SMALL.items() if key != "backbone.filters"}
    run = library.train(
        algo="protonet", results_dir=str(results), **{**settings, "backbone": backbone, "train.iterations": 0}
    )
    assert export(run, name, tmp_path / "made", tasks=1).checked.largest_difference <= 1e-4


@pytest.mark.parametrize("algo", ["maml", "r2d2"])
@pytest.mark.parametrize("name", [ONNX, *TENSORFLOW])
def test_regression(name, algo, results, tmp_path):
    settings = {key: value for key, value in SMALL.items() if key.startswith("train.")}
    run = library.train(algo=algo, results_dir=str(results), **{**settings, "data": "sinusoid", "test.tasks": 4})
    made = export(run, name, tmp_path / "made", steps=5, tasks=20)
    about = json.loads((made.folder / "metadata.json").read_text())
    assert about["inputs"]["support_y"] == {"shape": ["support", 1], "dtype": "float32"}
    assert about["outputs"] == {"logits": {"shape": ["query", 1], "dtype": "float32"}}


@pytest.mark.parametrize("turn", [(0, 3, 1, 2), (0, 2, 3, 1), (0, 1, 3, 2)])
@pytest.mark.parametrize("combine", ["aten.sub.Tensor", "aten.reciprocal.default"])
@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore::UserWarning")  # the interpreter has moved to another package
def test_the_converter_of_litert_does_not_turn_a_difference_round(turn, combine):
    import tensorflow as tf

    from metarun.export.tensorflow_operators import OPERATORS

    constant = tf.constant([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]])
    operator = OPERATORS[attrgetter(combine)(torch.ops)]
    operands = [constant] if combine == "aten.sub.Tensor" else []

    @tf.function(input_signature=[tf.TensorSpec((1, 2, 2, 2), tf.float32)])
    def combined(x):
        return {"found": constant * operator(*operands, tf.transpose(x, turn))}

    x = 1 + tf.reshape(tf.range(8.0), (1, 2, 2, 2))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([combined.get_concrete_function()], tf.Module())
    model = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner()
    np.testing.assert_allclose(model(x=x)["found"], combined(x)["found"], rtol=1e-6)


@pytest.mark.onnx
def test_a_method_without_a_head_takes_another_way(results, tmp_path):
    made = export(trained(results, "protonet"), "onnx", tmp_path / "made", way=3, tasks=5)
    about = json.loads((made.folder / "metadata.json").read_text())
    assert about["outputs"] == {"logits": {"shape": ["query", 3], "dtype": "float32"}}
    assert "so the figure does not apply to it" in (made.folder / "README.md").read_text()


@pytest.mark.onnx
def test_the_onnx_file_has_named_sizes_and_no_traces_of_this_machine(results, tmp_path):
    import onnx

    made = export(trained(results, "protonet"), "onnx", tmp_path / "made", tasks=1)
    model = onnx.load(made.folder / "model.onnx")
    onnx.checker.check_model(model)
    sizes = {
        value.name: value.type.tensor_type.shape.dim[0].dim_param for value in (*model.graph.input, *model.graph.output)
    }
    assert sizes == {"support_x": "support", "support_y": "support", "query_x": "query", "logits": "query"}
    content = (made.folder / "model.onnx").read_bytes()
    assert b"/metarun/" not in content
    assert b"stack_trace" not in content
