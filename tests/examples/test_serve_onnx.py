"""examples/serve_onnx.py: a web service around an exported run, in a process without torch."""

import io
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metarun as library
from metarun.data import Glyphs
from metarun.export import export

pytestmark = [pytest.mark.slow, pytest.mark.onnx]

WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = sys.modules["metarun"] = None  # importing them fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SCRIPT = Path(__file__).parents[2] / "examples" / "serve_onnx.py"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service with a model of three classes."""
    folder = tmp_path_factory.mktemp("service")
    settings = {"backbone.norm": "layer", "train.iterations": 0, "train.validate_tasks": 2, "test.tasks": 4}
    run = library.train(algo="protonet", data="glyphs", results_dir=str(folder), **settings)
    made = export(run, "onnx", folder / "model", way=3, tasks=1)
    command = [sys.executable, "-c", WITHOUT_TORCH, str(SCRIPT), str(made.folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(timeout=10)
    process.stdout.close()


def post(address: str, content: bytes) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, content), timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def png(picture: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture[0]).save(content, "PNG")
    return content.getvalue()


def test_classes_are_learned_and_told_apart_over_http(service):
    examples = Glyphs().load().splits["test"]
    glyphs = {name: examples.of_class(examples.class_names[3 * i]) for i, name in enumerate(("alpha", "beta", "gamma"))}
    assert post(f"{service}/predict", png(glyphs["alpha"][0])) == (
        400,
        {"error": "0 of 3 classes have examples; add the others first"},
    )
    for name, pictures in glyphs.items():
        for picture in pictures[:3]:
            code, counts = post(f"{service}/examples/{name}", png(picture))
            assert code == 200
    assert counts == {"alpha": 3, "beta": 3, "gamma": 3}
    right = 0
    for name, pictures in glyphs.items():
        for picture in pictures[3:6]:
            code, probabilities = post(f"{service}/predict", png(picture))
            assert sum(probabilities.values()) == pytest.approx(1, abs=1e-3)
            right += max(probabilities, key=probabilities.get) == name
    assert right >= 6
    assert post(f"{service}/examples/delta", png(glyphs["alpha"][0]))[0] == 400
    assert post(f"{service}/predict", b"no picture")[1]["error"].startswith("cannot identify image file")
    assert post(f"{service}/nowhere", b"")[0] == 404
