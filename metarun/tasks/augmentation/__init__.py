"""Random changes of meta-training examples, such as crops of photographs and masks of spectrograms."""

from metarun.tasks.augmentation.settings import augmentations, suitable, views
from metarun.tasks.augmentation.stream import AugmentedStream

__all__ = ["AugmentedStream", "augmentations", "suitable", "views"]
