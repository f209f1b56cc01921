"""Call a network with other weights, each everywhere the network uses it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarun.system.inputs import Inputs


def embed_with_weights(
    network: nn.Module, weights: Mapping[str, Tensor], x: Inputs, layer_weights: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Return the features of x (n, *shape) under other weights and running statistics.

    A layer registered under two names, or a weight shared by two layers, counts once and is replaced everywhere.
    `functional_call` can do this too (`tie_weights`), but it restores a shared layer's weights in the wrong order, so
    that the network keeps those of the last task.

    Args:
        network: its own weights are used where `weights` has none.
        weights: by their names in `named_parameters` and `named_buffers`; a running statistic that the pass updates is
            written into the given tensor.
        x: (n, *shape).
        layer_weights: replaces the weight of one layer, by "layer.weight"; other layers that share it are unaffected.
    """
    everywhere = {path: weights[name] for path, name in _names(network).items() if name in weights}
    used = {**everywhere, **(layer_weights or {})}
    features: Tensor = functional_call(network, used, x, tie_weights=False)  # puts updated statistics into `used`
    with torch.no_grad():
        for path, tensor in everywhere.items():
            if used[path] is not tensor and path not in (layer_weights or {}):
                tensor.copy_(used[path])
    return features


def _names(network: nn.Module) -> dict[str, str]:
    """Map every path of a weight or buffer to its name in `named_parameters`, which is the first path."""
    first: dict[int, str] = {}
    names = {}
    for prefix, part in network.named_modules():
        for own, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is not None:
                path = f"{prefix}.{own}" if prefix else own
                names[path] = first.setdefault(id(tensor), path)
    return names
