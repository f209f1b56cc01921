"""Meta-training and meta-val tasks whose classes are made without labels, as `task.labels` asks for."""

import logging

import numpy as np
from numpy.typing import NDArray

from metarun.algorithms import Rotation
from metarun.config.instantiate import takes
from metarun.config.key_origins import knob, set_by
from metarun.data import ClassDataset, Split
from metarun.data.clusters import cluster, principal_components
from metarun.errors import UserError
from metarun.runner.components import Parts
from metarun.runner.embedding_path import PIXELS
from metarun.runner.embedding_run import EmbeddingRun
from metarun.runner.memory_check import check_tasks_fit
from metarun.tasks.augmentation import AugmentedStream, views
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.made_classes import check_drawn, clusters, single_examples, without_labels
from metarun.tasks.stream import StreamSpec, TaskStream
from metarun.tasks.validation import check_tasks

log = logging.getLogger(__name__)


def training_stream(parts: Parts, split: Split, shape: TaskShape, seed: int) -> TaskStream:
    """Return meta-training or meta-val tasks, whose classes `task.labels` may make.

    Then no label of the split is read. Meta-val tasks are made as those of meta-training are, so that the checkpoint is
    chosen without labels too.

    Raises:
        UserError: the data have no classes, are several data sets, or cannot serve such tasks.
    """
    labels, data = parts.labels, parts.source.data
    if labels == "classes":
        return parts.stream(split, shape, seed)
    check_data(parts)
    assert isinstance(data, ClassDataset)
    if split == "train":
        check_drawn(shape, labels)
    shape = without_labels(shape, labels)
    made = (
        single_examples(data.splits[split], shape, data.name, split)
        if labels == "none"
        else clusters(_clusters(parts, data, split, shape), shape, data.name, split)
    )
    stream = ClassTaskStream(data, StreamSpec(split, shape, seed, parts.device, parts.dtype), made=made)
    check_tasks(stream)
    check_tasks_fit(1, shape, data.inputs)
    return _with_views(parts, stream, split, seed) if labels == "none" else stream


def check_data(parts: Parts) -> None:
    """Raise a UserError if `task.labels` asks for classes that cannot be made of these data."""
    labels, source = parts.labels, parts.source
    if labels != "classes" and not isinstance(source.data, ClassDataset):
        what = "several data sets" if source.kind == "classification" else source.kind
        raise UserError(
            f"task.labels={labels}{set_by('task.labels')} makes classes of one data set but data={source.name} is "
            f"{what}",
            "set `task.labels=classes` or use other data.",
        )


def _with_views(parts: Parts, stream: ClassTaskStream, split: Split, seed: int) -> TaskStream:
    preset, changes = views(parts.config["train"].get("augment"), parts.source.inputs, parts.source.name)
    if split == "train":
        chosen = f"train.augment={preset} suits these data: " if preset else ""
        log.info("each class is one example and augmented copies of it (%s%s)", chosen, ", ".join(changes))
    return AugmentedStream(stream, changes, split, seed, keeps_first=True)


def _clusters(parts: Parts, data: ClassDataset, split: Split, shape: TaskShape) -> NDArray[np.int32]:
    """Return the clusters of a split, those of meta-val as large as those of meta-train."""
    task, examples = parts.config["task"], data.splits[split]
    for key, least in (("clusters", shape.way), ("partitions", 1)):
        if task[key] < least:
            problem = f"task.{key}={task[key]} but it must be at least {least}"
            raise UserError(problem, f"raise {knob(f'task.{key}', task[key])}.")
    share = len(examples.values) / len(data.splits["train"].values)
    count = min(max(shape.way, round(task["clusters"] * share)), len(examples.values))
    if task["embedding"] == PIXELS:
        embedding, features = PIXELS, lambda: principal_components(examples, data.name)
    else:
        run = EmbeddingRun(task["embedding"], parts.device)
        embedding, features = run.checksum, lambda: run.features(data, split)
    key = f"{data.hash}|{split}|{embedding}"
    return cluster(data.name, split, examples, features, key, count, task["partitions"])


def check_method(parts: Parts) -> None:
    """Raise a UserError if a method cannot be meta-trained with the classes that `task.labels` makes."""
    config, labels = parts.config, parts.labels
    algo = config["chosen"]["algo"]
    if parts.algorithm.unlabelled and labels != "none":
        raise UserError(
            f"algo={algo} learns from examples without classes but task.labels={labels}{set_by('task.labels')}",
            "set `task.labels=none`.",
        )
    rotations = config["data"].get("rotations")
    copies = rotations.get("train", 1) if isinstance(rotations, dict) else 1
    if isinstance(parts.algorithm, Rotation) and copies != 1:
        raise UserError(
            f"algo={algo} predicts how a picture was rotated but with data.rotations.train={copies} the examples "
            "include rotated pictures",
            "set `data.rotations.train=1`.",
        )
    if labels != "classes" and takes("algo", config["algo"], "train_classes"):
        raise UserError(
            f"algo={algo} classifies the meta-train classes of the data but "
            f"task.labels={labels}{set_by('task.labels')} makes others",
            "use a method that trains on tasks, such as protonet or maml; or pre-train with algo=simclr or rotation "
            f"and test with `metarun test run=last algo={algo}`.",
        )
