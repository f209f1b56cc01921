"""Embed the support set and the queries of a task, together or separately."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from metarun.backbones.norm import SupportStatistics, TaskNorm, support_first
from metarun.system.inputs import Inputs, first_field, map_inputs

Embed = Callable[[Any], Tensor]  # of a tensor, or a dict of fields


def embed_together(embed: Embed, support_x: Inputs, query_x: Inputs) -> tuple[Tensor, Tensor]:
    """Return the features of support (n, *shape) and queries (m, *shape) from one pass.

    Batch statistics are over both sets, support statistics over the support set.
    """
    support = first_field(support_x).shape[0]
    with support_first(support):
        features = embed(map_inputs(lambda *both: torch.cat(both), support_x, query_x))
    return features[:support], features[support:]


def embed_queries(network: nn.Module, support_x: Inputs, query_x: Inputs, embed: Embed | None = None) -> Tensor:
    """Return the features of queries (m, *shape) from a pass without the support set.

    Batch statistics are over the queries alone. The support set is part of the pass only if the norm needs it.

    Args:
        network: decides whether its norm needs the support set.
        support_x: (n, *shape).
        query_x: (m, *shape).
        embed: calls the network, if not by `network(x)`.
    """
    embed = embed or network
    if needs_support(network):
        return embed_together(embed, support_x, query_x)[1]
    return embed(query_x)


def needs_support(network: nn.Module) -> bool:
    """Whether a layer normalises queries with statistics of the support set."""
    return any(isinstance(layer, SupportStatistics | TaskNorm) for layer in network.modules())
