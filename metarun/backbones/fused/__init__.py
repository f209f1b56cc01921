"""Blocks of a network computed by compiled code."""

from metarun.backbones.fused.block import Block, has_blocks, is_compiled, set_compiled
from metarun.backbones.fused.library import why_not_compiled

__all__ = ["Block", "has_blocks", "is_compiled", "set_compiled", "why_not_compiled"]
