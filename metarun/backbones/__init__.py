"""Networks that turn an example into features; they know nothing of tasks."""

from metarun.backbones.backbone import Backbone, HasFeatureMap
from metarun.backbones.conv4 import Conv4
from metarun.backbones.mlp import MLP
from metarun.backbones.norm import NORMS, Norm, norm_weights

__all__ = ["Backbone", "Conv4", "HasFeatureMap", "MLP", "NORMS", "Norm", "norm_weights"]
