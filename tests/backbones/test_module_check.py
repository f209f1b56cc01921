"""What a network of the user's own is refused for, in a sentence that names it and the remedy."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.backbones import Module
from metarun.errors import UserError
from tests.support.own_networks import SHAPE, Plain


class Held(Plain):
    """With a number kept for later, as a buffer or not."""

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
    InAList: "InAList keeps weights in its attribute again, where no method finds them; register them",
    LayersInAList: "LayersInAList keeps weights in its attribute layers, where no method finds them",
    ComputedOnce: "ComputedOnce keeps weights in its attribute transposed.*compute what follows from them in `forward`",
    ChangesInEval: r"ChangesInEval changes its held in eval mode.*only `if self\.training`",
    MaxNorm: r"MaxNorm changes its table\.weight in eval mode.*leave out `max_norm`",
    AlwaysDrops: r"AlwaysDrops draws random numbers in eval mode; give F\.dropout `training=self\.training`",
    Gathers: r"Gathers changes its attribute held in training, which no checkpoint has; make it a buffer",
    GathersUnsaved: r"GathersUnsaved changes its buffer held in training, .* register it with `persistent=True`",
    Collects: r"Collects cannot be copied, perhaps since it keeps tensors of a pass in a list",
    Single: r"Single does not take float64, in which metarun checks a method: .*without `\.float\(\)`",
    Auxiliary: r"Auxiliary makes a tuple in training, but a backbone makes \(n, features\)",
    Unreached: r"Unreached has a lazy part that no pass goes through; remove it",
}


@pytest.mark.parametrize("network", REFUSED)
def test_it_is_refused(network):
    with pytest.raises(UserError, match=rf"backbone\.module: {REFUSED[network]}"):
        Module(SHAPE, network())


def test_a_buffer_that_is_gathered_in_training_and_saved_is_taken():
    class Saved(Gathers):
        def __init__(self):
            super().__init__(persistent=True)

    assert Module(SHAPE, Saved()).features == 6
