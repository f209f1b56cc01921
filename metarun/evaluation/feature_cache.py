"""Embed every example of a split once, however many tasks contain it."""

import copy
from collections.abc import Callable
from operator import itemgetter

import torch
from torch import Tensor, nn

from metarun.algorithms import Algorithm
from metarun.backbones import needs_support
from metarun.system.inputs import Inputs, first_field, map_inputs, to_dtype
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.stream import TaskStream

PROBE_EXAMPLES = 4  # for checking whether a network treats examples independently
AT_ONCE = {"cpu": 64, "cuda": 1024}  # examples in one pass; the feature maps of 64 stay in a CPU's cache


def on_cached_features(
    algorithm: Algorithm, stream: TaskStream, tasks: int, check_interrupt: Callable[[], None], cache: dict[str, Tensor]
) -> tuple[Algorithm, TaskStream] | None:
    """Return the algorithm without its backbone, and the same tasks with features instead of examples.

    Args:
        algorithm: in eval mode; the returned one shares everything but the backbone.
        stream: of tasks.
        tasks: how many of them to evaluate.
        check_interrupt: called between passes; raises when the user wants to stop.
        cache: features of splits from this network, by split identity; extended here.

    Returns:
        None if the method or the norm must see a task's examples together, or if the split has more examples than the
        tasks contain, so that nothing would be gained.
    """
    if not algorithm.predicts_from_features or not isinstance(stream, ClassTaskStream):
        return None
    shape = stream.shape
    if stream.split_identity in cache:
        return without_backbone(algorithm), stream.of_features(cache[stream.split_identity])
    if stream.examples > tasks * shape.way * (shape.shot + shape.query):
        return None
    backbone = algorithm.get_submodule("backbone")
    task = stream.draw(0, 1)
    if not is_per_example(
        backbone, map_inputs(lambda *both: torch.cat([field[0] for field in both]), task.query_x, task.support_x)
    ):
        return None

    @torch.no_grad()
    def embed(examples: Inputs) -> Tensor:
        check_interrupt()
        features: Tensor = backbone(examples)
        return features

    features = stream.embed(embed, AT_ONCE.get(task.device.type, AT_ONCE["cuda"]))
    cache[stream.split_identity] = features
    return without_backbone(algorithm), stream.of_features(features)


@torch.no_grad()
def is_per_example(network: nn.Module, examples: Inputs) -> bool:
    """Whether an example's features do not depend on the rest of the batch, checked in float64 on a few examples.

    Args:
        network: in eval mode; not changed.
        examples: (n, *shape) of several classes, sorted by class; at least two.
    """
    if needs_support(network):
        return False
    network = copy.deepcopy(network).double()
    at = evenly_spaced(first_field(examples).shape[0], PROBE_EXAMPLES)
    some = map_inputs(lambda field: to_dtype(field[at], torch.float64), examples)
    half = -(-len(at) // 2)
    halves = [map_inputs(itemgetter(part), some) for part in (slice(half), slice(half, None))]
    return torch.allclose(network(some), torch.cat([network(each) for each in halves]), rtol=1e-9, atol=1e-12)


def evenly_spaced(total: int, count: int) -> list[int]:
    """Return `count` evenly spaced indices below `total`, or all if there are fewer."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


def without_backbone(algorithm: Algorithm) -> Algorithm:
    """Return the algorithm for features in the examples' place; it shares everything but the backbone."""
    twin = copy.copy(algorithm)
    twin._modules = {**algorithm._modules, "backbone": nn.Identity()}
    return twin
