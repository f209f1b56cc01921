"""A traced model as a file of torch.export: needs torch to run, but not metarun."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from metarun.export.model import Array, Solve

FILE = "model.pt2"
CALL = """\
import numpy as np
import torch

model = torch.export.load("model.pt2").module()
example = np.load("example.npz")
inputs = [torch.from_numpy(example[name]) for name in ("support_x", "support_y", "query_x")]
with torch.no_grad():
    logits = model(*inputs).numpy()
"""


def check_installed() -> None:
    """Do nothing: torch is there."""


def versions() -> dict[str, str]:
    """Return the packages that wrote the file."""
    return {"torch": torch.__version__}


def write(program: ExportedProgram, folder: Path) -> None:
    """Write the model into a folder."""
    torch.export.save(program, folder / FILE)


def load(folder: Path) -> Solve:
    """Return the stored model as a function."""
    module = torch.export.load(folder / FILE).module()

    def solve(support_x: Array, support_y: Array, query_x: Array) -> NDArray[np.float32]:
        with torch.no_grad():
            found: NDArray[np.float32] = module(*map(torch.from_numpy, (support_x, support_y, query_x))).numpy()
        return found

    return solve
