"""The order in which the numbers of a network lie in memory: it changes how fast they are, and results by rounding."""

import torch

from metarun.algorithms.algorithm import Algorithm


def to_channels_last(algorithm: Algorithm) -> Algorithm:
    """Put the channels last where that is faster: on a CPU, in a method without gradient steps inside a task.

    Convolutions, pooling and normalisation then run up to twice as fast. Steps inside a task give each task weights of
    its own; their convolutions are grouped, and slower that way.
    """
    on_cpu = all(parameter.device.type == "cpu" for parameter in algorithm.parameters())
    takes_it = all(getattr(part, "supports_channels_last", True) for part in algorithm.modules())
    if on_cpu and takes_it and algorithm.order is None:
        algorithm.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return algorithm
