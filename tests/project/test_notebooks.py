"""The notebooks of examples/ run from the first cell to the last, and hold no outputs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


def code(notebook: Path) -> str:
    cells = json.loads(notebook.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs_and_no_path_of_a_machine(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert not re.search(r"/(home|root|tmp|work|Users)/", notebook.read_text())


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize(
    "notebook",
    [pytest.param(path, marks=pytest.mark.onnx) if path.stem == "web_service" else path for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs(notebook, tmp_path):
    shutil.copy(notebook.with_name("serve_onnx.py"), tmp_path)
    shortened = re.sub(r'"train\.iterations": \d+', '"train.iterations": 2, "test.tasks": 3', code(notebook))
    (tmp_path / "cells.py").write_text(shortened)
    subprocess.run([sys.executable, "cells.py"], cwd=tmp_path, check=True, capture_output=True, timeout=300)
