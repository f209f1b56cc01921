"""Networks that map examples to features, independent of tasks."""

from metarun.backbones.backbone import Backbone, HasFeatureMap
from metarun.backbones.bag import Bag
from metarun.backbones.bfloat16 import compute_in_bfloat16, match_precision, upcast
from metarun.backbones.conv4 import Conv4
from metarun.backbones.functional import embed_with_weights
from metarun.backbones.language_model import CausalLM
from metarun.backbones.mlp import MLP
from metarun.backbones.module import Module
from metarun.backbones.norm import NORMS, Norm, norm_weights, normalises_over_examples
from metarun.backbones.pretrained import Pretrained
from metarun.backbones.residual_mlp import ResidualMLP
from metarun.backbones.resnet12 import ResNet12
from metarun.backbones.resnet18 import ResNet18
from metarun.backbones.task_embedding import embed_queries, embed_together, needs_support
from metarun.backbones.transformer import Transformer
from metarun.backbones.wrn28_10 import WRN28x10

__all__ = [
    "MLP",
    "NORMS",
    "Backbone",
    "Bag",
    "CausalLM",
    "Conv4",
    "HasFeatureMap",
    "Module",
    "Norm",
    "Pretrained",
    "ResNet12",
    "ResNet18",
    "ResidualMLP",
    "Transformer",
    "WRN28x10",
    "compute_in_bfloat16",
    "embed_queries",
    "embed_together",
    "embed_with_weights",
    "match_precision",
    "needs_support",
    "norm_weights",
    "normalises_over_examples",
    "upcast",
]
