"""Why a user's own network is refused, in a sentence that names it and the remedy."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.backbones import Module
from metarun.errors import UserError
from tests.support.own_networks import SHAPE, Plain


class Held(Plain):
    """Keeps a tensor, as a buffer or as an attribute."""

    def __init__(self, **buffer) -> None:
        super().__init__()
        if buffer:
            self.register_buffer("held", torch.zeros(6), **buffer)
        else:
            self.held = torch.zeros(6)


class ChangesInEval(Held):
    def __init__(self):
        super().__init__(persistent=True)

    def forward(self, x):
        self.held += 1
        return super().forward(x)


class MaxNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(256, 6, max_norm=1.0)

    def forward(self, x):
        return self.table((x.flatten(1) * 255).long()).mean(1)


class AlwaysDrops(Plain):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.5)


class Gathers(Held):
    def forward(self, x):
        y = super().forward(x)
        if self.training:
            self.held = self.held + y.detach().mean(0)
        return y


class GathersUnsaved(Gathers):
    def __init__(self):
        super().__init__(persistent=False)


class Collects(Plain):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(super().forward(x))
        return self.seen[-1]


class Single(Plain):
    def forward(self, x):
        return super().forward(x.float())


class Auxiliary(Plain):
    def forward(self, x):
        y = super().forward(x)
        return (y, y) if self.training else y


class Unreached(Plain):
    def __init__(self):
        super().__init__()
        self.spare = nn.LazyLinear(3)


class InAList(Plain):
    def __init__(self):
        super().__init__()
        self.again = [self.top.weight]


class LayersInAList(Plain):
    def __init__(self):
        super().__init__()
        self.layers = {"extra": nn.Linear(6, 6)}


class ComputedOnce(Plain):
    def __init__(self):
        super().__init__()
        self.transposed = self.top.weight.T


REFUSED = {
    InAList: "InAList has unregistered weights in its attribute again, which no method can train; register them",
    LayersInAList: "LayersInAList has unregistered weights in its attribute layers, which no method can train",
    ComputedOnce: "ComputedOnce has unregistered weights in its attribute transposed.*depends on them in `forward`",
    ChangesInEval: r"ChangesInEval changes its held in eval mode.*only `if self\.training`",
    MaxNorm: r"MaxNorm changes its table\.weight in eval mode.*remove `max_norm`",
    AlwaysDrops: r"AlwaysDrops draws random numbers in eval mode; pass `training=self\.training` to F\.dropout",
    Gathers: r"Gathers changes its attribute held in training, which is not in checkpoints; make it a buffer",
    GathersUnsaved: r"GathersUnsaved changes its buffer held in training, .* register it with `persistent=True`",
    Collects: r"Collects cannot be copied, perhaps because it keeps tensors of a pass in a list",
    Single: r"Single does not support float64, which metarun needs for its checks: .*without `\.float\(\)`",
    Auxiliary: r"Auxiliary returns a tuple in training but must return \(n, features\)",
    Unreached: r"Unreached has a lazy layer that no pass uses; remove it",
}


@pytest.mark.parametrize("network", REFUSED)
def test_an_unsafe_network_is_refused(network):
    with pytest.raises(UserError, match=rf"backbone\.module: {REFUSED[network]}"):
        Module(SHAPE, network())


def test_a_persistent_buffer_may_change_in_training():
    class Saved(Gathers):
        def __init__(self):
            super().__init__(persistent=True)

    assert Module(SHAPE, Saved()).features == 6
