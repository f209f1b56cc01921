"""What is compared: a case is one piece of work, done by us and by peers, or with a limit of its own."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from scripts.benchmark.timing import Clock, Work

AGREEMENT = 1e-4  # in float32, relative above 1


@dataclass(frozen=True)
class Setting:
    """Where and how large.

    Args:
        device: that both sides use.
        short: small sizes, to see that nothing is slower than its peer.
        folder: for what a case must write.
        clock: that everything is timed by.
    """

    device: torch.device
    short: bool
    folder: Path
    clock: Clock = time.perf_counter


@dataclass(frozen=True)
class Targets:
    """What a case is to reach: how many times faster than the peer, or at most how much."""

    cpu: float
    gpu: float

    def on(self, device: torch.device) -> float:
        """Return the one for a device."""
        return self.gpu if device.type == "cuda" else self.cpu


@dataclass(frozen=True)
class Peer:
    """The same work as others do it.

    Args:
        run: does it once.
        share: of our work that `run` does; less than 1 where all of it would take too long.
        agreement: a figure that both sides compute, ours first; checked before anything is timed.
        note: for the table.
    """

    run: Work
    share: float = 1.0
    agreement: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Duel:
    """A case made ready.

    Args:
        ours: does the work once.
        peers: by name.
        flops: what to count the arithmetic of `ours` by, task by task; None where a model is not what takes the time.
        flops_share: of our work that `flops` does.
    """

    ours: Work
    peers: Mapping[str, Peer]
    flops: Work | None = None
    flops_share: float = 1.0


@dataclass(frozen=True)
class Comparison:
    """A case with peers.

    Args:
        title: for the table.
        targets: how many times faster than each peer.
        prepare: makes it ready.
        most_repeats: where a call takes minutes.
    """

    title: str
    targets: Targets
    prepare: Callable[[Setting], Duel]
    most_repeats: int | None = None


@dataclass(frozen=True)
class Limit:
    """A case without a peer.

    Args:
        title: for the table.
        targets: not to be exceeded.
        unit: of what is measured, "s" or "%".
        measure: returns as many figures as it is asked for.
    """

    title: str
    targets: Targets
    unit: str
    measure: Callable[[Setting, int], list[float]] = field(repr=False)


def check_agreement(what: str, ours: float, theirs: float) -> tuple[float, float]:
    """Return both figures; what does not compute the same is not compared.

    Raises:
        ValueError: they differ by more than float32's rounding.
    """
    if abs(ours - theirs) > AGREEMENT * max(1.0, abs(ours), abs(theirs)):
        raise ValueError(f"{what}: we compute {ours} and the peer {theirs}, so their times say nothing.")
    return ours, theirs
