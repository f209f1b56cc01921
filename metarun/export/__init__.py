"""Runs as models for other programs: ONNX, torch.export, TensorFlow, LiteRT."""

from metarun.export.exporting import Exported, export
from metarun.export.formats import FORMATS

__all__ = ["FORMATS", "Exported", "export"]
