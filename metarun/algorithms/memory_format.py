"""The memory format of a network: it affects speed, and results by rounding."""

import torch

from metarun.algorithms.method import Method


def to_channels_last(algorithm: Method) -> Method:
    """Use the channels-last format where it is faster: on a CPU, for a method without an inner loop.

    Convolutions, pooling and normalisation then run up to twice as fast. An inner loop gives each task its own weights;
    the convolutions are then grouped, which is slower in this format.
    """
    on_cpu = all(parameter.device.type == "cpu" for parameter in algorithm.parameters())
    supported = all(getattr(part, "supports_channels_last", True) for part in algorithm.modules())
    if on_cpu and supported and algorithm.order is None:
        algorithm.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return algorithm
