"""A pre-trained encoder of pictures, so small that a test makes its file of weights."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from metarun.backbones.encoders import Encoder
from metarun.backbones.encoders.files import find, hash_of, state_dict
from metarun.system.paths import PathText

OPTION = """\
# @package _global_
encoder_input: {{size: 28}}
backbone:
  _target_: metarun.backbones.Pretrained
  encoder:
    _target_: tests.support.tiny_encoder.TinyPictures
    weights: {weights}
  train: none
  head: residual_mlp
  hidden: 8
"""


class TinyPictures(Encoder):
    """Sixteen grey values and a matrix.

    Args:
        weights: a safetensors file.
    """

    reads = "pictures"
    features = 8
    saw = "nothing, it is random"
    calls = 0  # examples that any of them has encoded

    def __init__(self, weights: PathText) -> None:
        super().__init__()
        path = find(weights, "backbone.encoder.weights")
        self.matrix = nn.Parameter(state_dict(path)["matrix"])
        self.hash = hash_of("TinyPictures", {"weights": path}, {})

    def forward(self, x: Tensor) -> Tensor:
        TinyPictures.calls += len(x)
        return F.adaptive_avg_pool2d(x.mean(1, keepdim=True), 4).flatten(1) @ self.matrix


def write_option(folder: Path, seed: int = 0) -> Path:
    """Write weights and `backbone/tiny.yaml`; return the weights."""
    weights = folder / "weights.safetensors"
    save_file({"matrix": torch.randn(16, 8, generator=torch.Generator().manual_seed(seed))}, weights)
    (folder / "backbone").mkdir(exist_ok=True)
    (folder / "backbone" / "tiny.yaml").write_text(OPTION.format(weights=weights))
    return weights
