"""The machine and its peak GFLOP/s, which the achieved GFLOP/s are compared with."""

import os
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from metarun.results import provenance as environment
from scripts.benchmark.timing import Clock, Work, time_alternating

GIGA = 1e9


@dataclass(frozen=True)
class Peak:
    """Measured GFLOP/s in float32, the best of several repeats."""

    matmul: float
    convolution: float  # 3x3, 64 to 64 channels, channels last


def measure_peak(device: torch.device, clock: Clock = time.perf_counter, repeats: int = 7, size: int = 2048) -> Peak:
    """Measure the device on a square matrix product and a 3x3 convolution."""
    a, b = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
    examples = max(1, size // 64) * (16 if device.type == "cuda" else 1)
    x = torch.rand(examples, 64, 56, 56, device=device).to(memory_format=torch.channels_last)
    w = torch.rand(64, 64, 3, 3, device=device).to(memory_format=torch.channels_last)
    with torch.no_grad():
        sides = [lambda: a @ b, lambda: F.conv2d(x, w, padding=1)]
        product, convolution = time_alternating(sides, repeats, device, 2, clock)
    return Peak(
        matmul=2 * size**3 / product.least / GIGA,
        convolution=2 * examples * 56 * 56 * 64 * 64 * 9 / convolution.least / GIGA,
    )


def count_flops(work: Work) -> float:
    """Return the floating-point operations of matrix products and convolutions in one call, forward and backward.

    The work must process task by task, because torch miscounts the backward pass of grouped convolutions (vectorised
    tasks). Normalisation, activations and losses are not counted.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def describe(device: torch.device, peak: Peak, clock: str = "wall") -> dict[str, Any]:
    """Return the context of the measurements."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else environment.processor()
    return {
        "device": str(device),
        "name": name,
        "processor": environment.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "clock": clock,
        "load": os.getloadavg()[0],
        "versions": environment.versions(),
        "commit": environment.commit(),
        "peak_matmul_gflops": round(peak.matmul, 1),
        "peak_convolution_gflops": round(peak.convolution, 1),
    }
