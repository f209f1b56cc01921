"""What bounds a case: the kind of operation that takes most of our time."""

import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch.autograd.profiler import profile

from scripts.benchmark.timing import Work

# In this order; an operation is of the first kind that its name matches.
KINDS = {
    "convolution": re.compile("conv|^_(Values|ToInput|ToWeight)"),
    "normalisation, pooling, ReLU": re.compile("batch_norm|pool|relu|clamp|threshold|^_(Forward|Backward|Second)"),
    "matrix product": re.compile("mm$|matmul|linear|linalg|cholesky|triangular|lstm|einsum"),
    "copying": re.compile("copy|clone|contiguous|fill|zero|cat$|stack|index|gather|scatter|to_mkldnn|empty|pad"),
}
OTHER, OUTSIDE = "other arithmetic", "Python, calls"


class Bound(NamedTuple):
    """The kind of operation that takes most of the time, and its share of it."""

    kind: str
    share: float


def find_bound(work: Work) -> Bound:
    """Profile one call on the CPU.

    Time within operations is counted where it is spent: a backward pass that calls a convolution is a convolution. What
    is in no operation is Python.
    """
    seconds: dict[str, float] = defaultdict(float)
    with _without_stderr(), profile() as profiled:
        begin = time.perf_counter()
        work()
        total = time.perf_counter() - begin
    for event in profiled.key_averages():
        seconds[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    seconds[OUTSIDE] = max(0.0, total - sum(seconds.values()))
    kind = max(seconds, key=lambda each: seconds[each])
    return Bound(kind, seconds[kind] / sum(seconds.values()))


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard what torch's profiler writes to stderr: two lines whenever it is used."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept), os.close(nothing)


def kind_of(operation: str) -> str:
    """Return the kind of an operation by its name, such as "aten::mkldnn_convolution"."""
    name = operation.rpartition("::")[2]
    return next((kind for kind, pattern in KINDS.items() if pattern.search(name)), OTHER)
