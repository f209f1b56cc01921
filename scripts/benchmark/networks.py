"""Networks with the same weights for both sides, and their tasks."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import nn

from metarun.algorithms import Algorithm
from metarun.backbones import Backbone, Conv4, Norm, ResNet12
from metarun.backbones.fused import set_compiled, why_not_compiled
from metarun.backbones.norm import BatchStatistics
from metarun.data import SPLITS, ClassDataset, Examples, Omniglot
from metarun.tasks.batch import TaskBatch, TaskShape


@dataclass(frozen=True)
class Protocol:
    """The training settings of a paper that affect speed."""

    way: int
    shot: int
    query: int
    steps: int = 1  # inner steps
    inner_lr: float = 0.1
    meta_batch: int = 1
    image: tuple[int, int, int] = (1, 28, 28)
    filters: int = 64
    downsample: Literal["pool", "stride"] = "stride"
    norm: Norm = "batch"
    network: Literal["conv4", "resnet12"] = "conv4"  # filters and downsample are conv4's

    @property
    def shape(self) -> TaskShape:
        """The shape of its tasks."""
        return TaskShape(self.way, self.shot, self.query)

    @property
    def examples(self) -> int:
        """The number of examples in a meta-batch."""
        return self.meta_batch * self.way * (self.shot + self.query)

    def backbone(self) -> Backbone:
        """Return the network, with the same weights every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if self.network == "resnet12":
                return ResNet12(self.image, keep_rate=1, norm=self.norm)
            return Conv4(self.image, self.filters, self.downsample, self.norm)


def compile_blocks(ours: Algorithm) -> Algorithm:
    """Return our method with compiled blocks where this machine can compile them, as `train.compile=auto` does."""
    on_cpu = all(weight.device.type == "cpu" for weight in ours.parameters())
    set_compiled(ours, on_cpu and why_not_compiled() is None)
    return ours


def with_torchs_batch_norm(module: nn.Module) -> nn.Module:
    """Return a copy with torch's batch norm, as in the peers' networks: batch statistics in training."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, BatchStatistics):
                torchs = nn.BatchNorm2d(len(child.affine.weight), device=child.affine.weight.device)
                torchs.weight, torchs.bias = child.affine.weight, child.affine.bias
                setattr(parent, name, torchs)
    return module


def with_weights_of(ours: nn.Module, theirs: nn.Module) -> nn.Module:
    """Return a peer's network with the weights of ours, which come in the same order, where they are."""
    theirs = theirs.to(next(ours.parameters()).device)
    for own, weight in zip(theirs.parameters(), ours.parameters(), strict=True):
        own.data = weight.detach().clone()
    return theirs


def in_float64(method: Algorithm, tasks: TaskBatch) -> tuple[Algorithm, TaskBatch]:
    """Return copies in float64, in which both sides have to compute the same."""
    exact = replace(tasks, support_x=tasks.support_x.double(), query_x=tasks.query_x.double())
    return copy.deepcopy(method).double(), exact


@contextmanager
def default_float64() -> Iterator[None]:
    """Let a peer that makes its constants in torch's default type make them in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def random_tasks(protocol: Protocol, device: torch.device) -> TaskBatch:
    """Return a meta-batch of the protocol's size with random pictures, whose content does not affect speed.

    Each class is a random picture, and its examples add noise.
    """
    random = torch.Generator().manual_seed(0)
    tasks, way, image = protocol.meta_batch, protocol.way, protocol.image
    pictures = torch.rand(tasks, way, 1, *image, generator=random)

    def draw(per_class: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.rand(tasks, way, per_class, *image, generator=random)
        labels = torch.arange(way).repeat_interleave(per_class).expand(tasks, -1)
        return (0.2 * pictures + 0.8 * noise).flatten(1, 2).to(device), labels.to(device)

    return TaskBatch(*draw(protocol.shot), *draw(protocol.query), way=way)


@cache
def omniglot(real: bool = True) -> ClassDataset:
    """Return Omniglot if available and `real`, else random pictures, 20 per class."""
    if real and Omniglot().where() is not None:
        return Omniglot().load()
    sizes = {"train": 4112, "val": 688, "test": 1692} if real else dict.fromkeys(SPLITS, 100)
    random = np.random.default_rng(0)

    def pictures(split: str, classes: int) -> Examples:
        values = random.integers(0, 256, (classes * 20, 1, 28, 28), dtype=np.uint8)
        return Examples(values, np.arange(classes + 1) * 20, tuple(f"{split} {c}" for c in range(classes)))

    return ClassDataset("random", {split: pictures(split, sizes[split]) for split in SPLITS})
