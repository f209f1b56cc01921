"""Networks that turn an example into features; they know nothing of tasks."""

from metarun.backbones.backbone import Backbone, HasFeatureMap
from metarun.backbones.bfloat16 import as_called, compute_in_bfloat16, widened
from metarun.backbones.conv4 import Conv4
from metarun.backbones.mlp import MLP
from metarun.backbones.module import Module
from metarun.backbones.norm import NORMS, Norm, norm_weights
from metarun.backbones.other_weights import embed_under
from metarun.backbones.resnet12 import ResNet12
from metarun.backbones.resnet18 import ResNet18
from metarun.backbones.task_passes import asks_for_support, embed_queries, embed_together
from metarun.backbones.wrn28_10 import WRN28x10

__all__ = [
    "MLP",
    "NORMS",
    "Backbone",
    "Conv4",
    "HasFeatureMap",
    "Module",
    "Norm",
    "ResNet12",
    "ResNet18",
    "WRN28x10",
    "as_called",
    "asks_for_support",
    "compute_in_bfloat16",
    "embed_queries",
    "embed_together",
    "embed_under",
    "norm_weights",
    "widened",
]
