"""Small data sets, tasks and networks."""

import numpy as np
import torch

from metarun.algorithms import Algorithm
from metarun.backbones import Conv4
from metarun.data import SPLITS, ClassDataset, Examples
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.stream import StreamSpec


def make_dataset(sizes=(20,) * 12, shape=(1, 16, 16), seed=0) -> ClassDataset:
    """Return noisy copies of one random picture per class; every split has classes of these sizes."""
    random = np.random.default_rng(seed)

    def make_split(split) -> Examples:
        def make_class(size):
            picture = random.integers(0, 128, (1, *shape))
            return (picture + random.integers(0, 128, (size, *shape))).astype(np.uint8)

        return Examples.from_classes({f"{split} {c}": make_class(size) for c, size in enumerate(sizes)})

    return ClassDataset("synthetic", {split: make_split(split) for split in SPLITS})


def make_stream(
    way=5, shot=1, query=3, split="train", seed=0, dtype=torch.float32, device="cpu", **data
) -> ClassTaskStream:
    return ClassTaskStream(
        make_dataset(**data), StreamSpec(split, TaskShape(way, shot, query), seed, torch.device(device), dtype)
    )


def make_conv4(norm="batch", downsample="stride", filters=8, shape=(1, 16, 16)) -> Conv4:
    return Conv4(shape, filters, downsample, norm)


def run_by(how: str, method: Algorithm) -> Algorithm:
    """Return the method with `how` set, as by `train.over_tasks`."""
    method.how = how
    return method
