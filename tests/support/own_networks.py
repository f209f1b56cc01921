"""Networks as users write them, each with something that metarun's own do not have."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHAPE = (1, 6, 6)


class Plain(nn.Module):
    """Two layers, and nothing out of the ordinary."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.Tanh())
        self.top = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.body(x))


class TwoNames(Plain):
    """The same, its parts registered under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.Sequential(self.body, self.top)

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(x)


class Twice(Plain):
    """Its upper layer is gone through twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.top(self.body(x)).tanh())


class Tied(Plain):
    """The same function as `Twice`: another layer has the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(6, 6)
        self.again.weight, self.again.bias = self.top.weight, self.top.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.top(self.body(x)).tanh())


class Transposed(Plain):
    """A part uses the weight of another, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Module()
        self.decoder.weight = self.top.weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.top(self.body(x)).tanh(), self.decoder.weight.T)


class Frozen(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.body.requires_grad_(False)


class AllFrozen(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


class Ids(nn.Module):
    """It takes pixels for ids: numbers outside of [0, 1] are none."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.table((x.flatten(1) * 255).long()).mean(1)


class Bounded(Plain):
    def forward(self, x: Tensor) -> Tensor:
        if x.min() < 0 or x.max() > 1:
            raise ValueError("pixels go from 0 to 1")
        return super().forward(x)


class Dropping(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.5, self.training)


class Counting(Plain):
    """It counts its passes in training."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls = self.calls + 1  # set anew, not in place
        return super().forward(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LSTM(6, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x[:, 0])[0][:, -1]


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LazyLinear(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


class Normed(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.top = nn.utils.parametrizations.weight_norm(self.top)


class NormedByHook(Plain):
    """As torch did it before, by a plain attribute that a hook computes."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.utils.weight_norm(self.top)


class Branching(Plain):
    """What it does depends on the numbers."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if y.sum() > 0 else 2 * y


class Remembering(Plain):
    """It keeps what it made last."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = super().forward(x)
        return self.last


class BatchNormed(Plain):
    """Its norm has a wrong second derivative under vmap (torch 2.13)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x)).tanh()


class Viewing(nn.Module):
    """`view` does not take maps with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).view(len(x), -1)
