"""Benchmark cases: work done by metarun and its peers, or with a limit."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from scripts.benchmark.timing import Clock, Work

AGREEMENT = 1e-4  # in float32, relative above 1


@dataclass(frozen=True)
class Setting:
    """How cases are measured.

    Args:
        device: used by both sides.
        short: use small sizes, to check that nothing is slower than its peer.
        folder: for files that a case writes.
        clock: measures all times.
    """

    device: torch.device
    short: bool
    folder: Path
    clock: Clock = time.perf_counter


@dataclass(frozen=True)
class Targets:
    """The target of a case: a speed-up over the peer, or a limit."""

    cpu: float
    gpu: float

    def on(self, device: torch.device) -> float:
        """Return the target for a device."""
        return self.gpu if device.type == "cuda" else self.cpu


NO_SLOWER = Targets(1, 1)


@dataclass(frozen=True)
class Peer:
    """The same work in another library.

    Args:
        run: does the work once.
        share: fraction of our work that `run` does; less than 1 if all of it would take too long.
        agreement: a value that both sides compute, ours first; checked before timing.
        note: for the table.
    """

    run: Work
    share: float = 1.0
    agreement: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Duel:
    """A prepared case.

    Args:
        ours: does the work once.
        peers: by name.
        flops: the arithmetic of `ours`, task by task, to count FLOPs; None if no model takes the time.
        flops_share: fraction of our work that `flops` does.
        in_process: whether `ours` works in this process, where it can be profiled.
    """

    ours: Work
    peers: Mapping[str, Peer]
    flops: Work | None = None
    flops_share: float = 1.0
    in_process: bool = True


@dataclass(frozen=True)
class Comparison:
    """A case with peers.

    Args:
        title: for the table.
        targets: speed-up over each peer.
        prepare: prepares the case.
        max_repeats: limit on repeats, for calls that take minutes.
    """

    title: str
    targets: Targets
    prepare: Callable[[Setting], Duel]
    max_repeats: int | None = None


@dataclass(frozen=True)
class Limit:
    """A case without a peer.

    Args:
        title: for the table.
        targets: limits that must not be exceeded.
        unit: of the measurements, "s" or "%".
        measure: returns the requested number of measurements.
    """

    title: str
    targets: Targets
    unit: str
    measure: Callable[[Setting, int], list[float]] = field(repr=False)


def check_agreement(what: str, ours: float, theirs: float) -> tuple[float, float]:
    """Return both values, which must agree before times are compared.

    Raises:
        ValueError: they differ by more than float32's rounding.
    """
    if abs(ours - theirs) > AGREEMENT * max(1.0, abs(ours), abs(theirs)):
        raise ValueError(f"{what}: we compute {ours} but the peer computes {theirs}; times are not comparable.")
    return ours, theirs
