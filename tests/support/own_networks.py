"""User-written networks, each with a property that metarun's own do not have."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHAPE = (1, 6, 6)


class Plain(nn.Module):
    """Two ordinary layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.Tanh())
        self.top = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.body(x))


class TwoNames(Plain):
    """The same, with parts registered under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.Sequential(self.body, self.top)

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(x)


class Twice(Plain):
    """Applies its upper layer twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.top(self.body(x)).tanh())


class Tied(Plain):
    """The same function as `Twice`, with a second layer that shares the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(6, 6)
        self.again.weight, self.again.bias = self.top.weight, self.top.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.top(self.body(x)).tanh())


class Transposed(Plain):
    """One part uses the transposed weight of another."""

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
    """Uses pixels as ids, which are invalid outside [0, 1]."""

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
    """Counts its forward passes in training."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls = self.calls + 1  # reassigned, not in place
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
    """Uses torch's old weight norm, where a hook computes a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.utils.weight_norm(self.top)


class Branching(Plain):
    """Branches on its values."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if y.sum() > 0 else 2 * y


class Remembering(Plain):
    """Keeps its last output."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = super().forward(x)
        return self.last


class BatchNormed(Plain):
    """Uses a norm with a wrong second derivative under vmap (torch 2.13)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x)).tanh()


class Viewing(nn.Module):
    """Uses `view`, which fails on channels-last maps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).view(len(x), -1)
