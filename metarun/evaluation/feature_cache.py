"""Every example of a split goes through the network once, however many tasks show it."""

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

ASKED = 4  # examples by which a network is asked whether it takes each by itself
AT_ONCE = {"cpu": 64, "cuda": 1024}  # examples in one pass: the maps of 64 stay in a CPU's cache


def on_features(
    algorithm: Algorithm, stream: TaskStream, tasks: int, pause: Callable[[], None], kept: dict[str, Tensor]
) -> tuple[Algorithm, TaskStream] | None:
    """Return the same method and the same tasks, of features in place of examples.

    Args:
        algorithm: in eval mode; what is returned shares everything with it but the backbone.
        stream: of tasks.
        tasks: how many of them are to be judged.
        pause: called between two passes; raises when the user wants to stop.
        kept: what this very network has made of splits, by their identity; filled here.

    Returns:
        None where that would be wrong, since the method or the norm must see a task's examples together, or no gain,
        since the split has more examples than the tasks show.
    """
    if not algorithm.predicts_from_features or not isinstance(stream, ClassTaskStream):
        return None
    shape = stream.shape
    if stream.split_identity in kept:
        return _without_backbone(algorithm), stream.of_features(kept[stream.split_identity])
    if stream.examples > tasks * shape.way * (shape.shot + shape.query):
        return None
    backbone = algorithm.get_submodule("backbone")
    task = stream.draw(0, 1)
    if not takes_each_alone(
        backbone, map_inputs(lambda *both: torch.cat([field[0] for field in both]), task.query_x, task.support_x)
    ):
        return None

    @torch.no_grad()
    def embed(examples: Inputs) -> Tensor:
        pause()
        features: Tensor = backbone(examples)
        return features

    features = stream.embed(embed, AT_ONCE.get(task.device.type, AT_ONCE["cuda"]))
    kept[stream.split_identity] = features
    return _without_backbone(algorithm), stream.of_features(features)


@torch.no_grad()
def takes_each_alone(network: nn.Module, examples: Inputs) -> bool:
    """Whether an example's features are the same in whatever company, asked in float64 of a few from the data.

    Args:
        network: in eval mode; it stays as it is.
        examples: (n, *shape) of several classes, class after class; two at least.
    """
    if needs_support(network):
        return False
    network = copy.deepcopy(network).double()
    at = spread_over(first_field(examples).shape[0], ASKED)
    some = map_inputs(lambda field: to_dtype(field[at], torch.float64), examples)
    half = -(-len(at) // 2)
    halves = [map_inputs(itemgetter(part), some) for part in (slice(half), slice(half, None))]
    return torch.allclose(network(some), torch.cat([network(each) for each in halves]), rtol=1e-9, atol=1e-12)


def spread_over(many: int, few: int) -> list[int]:
    """Return the places of so few of many, as far apart as can be; all of them where they are fewer."""
    few = min(few, many)
    return [i * many // few for i in range(few)]


def _without_backbone(algorithm: Algorithm) -> Algorithm:
    twin = copy.copy(algorithm)
    twin._modules = {**algorithm._modules, "backbone": nn.Identity()}
    return twin
