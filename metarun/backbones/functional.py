"""A network's pass under weights that are not its own, each put wherever the network uses it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarun.system.inputs import Inputs


def embed_with_weights(
    network: nn.Module, weights: Mapping[str, Tensor], x: Inputs, places: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Return what a network makes of x (n, *shape) under other weights and running statistics.

    A part that is registered under two names is one part, and a weight that two parts share is one weight: it is put
    in every place. `functional_call` finds names by itself (`tie_weights`), but gives a shared part's weights back in
    the wrong order, so that the network keeps those of the last task.

    Args:
        network: whose own weights stand in for those that `weights` lacks.
        weights: by their names in `named_parameters` and `named_buffers`; a running statistic that the pass sets anew
            is written into the tensor given.
        x: (n, *shape).
        places: what one layer uses in place of its weight, by "layer.weight"; others that share that weight keep it.
    """
    everywhere = {place: weights[name] for place, name in _names(network).items() if name in weights}
    given = {**everywhere, **(places or {})}
    features: Tensor = functional_call(network, given, x, tie_weights=False)  # writes into `given` what was set anew
    with torch.no_grad():
        for place, tensor in everywhere.items():
            if given[place] is not tensor and place not in (places or {}):
                tensor.copy_(given[place])
    return features


def _names(network: nn.Module) -> dict[str, str]:
    """Return, for every place of a weight or a buffer, the name that `named_parameters` has for it: the first."""
    first: dict[int, str] = {}
    names = {}
    for prefix, part in network.named_modules():
        for own, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is not None:
                place = f"{prefix}.{own}" if prefix else own
                names[place] = first.setdefault(id(tensor), place)
    return names
