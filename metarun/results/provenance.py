"""The environment of a run: versions, commit, host, threads, command line; and changes of it."""

import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from metarun.system.secrets import masked
from metarun.system.version import __version__

PACKAGES = ("torch", "numpy", "scipy", "pandas", "hydra-core", "omegaconf", "pillow", "matplotlib")
# Variables that affect torch; no others are recorded, because some contain secrets.
VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_CBWR", "ATEN_CPU_CAPABILITY"),
    *("ONEDNN_MAX_CPU_ISA", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
)
# Keys of `describe` that can change a number, at least in its last bits; the others say where and when.
CHANGES_NUMBERS = (
    *("processor", "instructions", "threads", "processes", "device", "gpu", "cuda", "cudnn", "variables"),
    *("commit", "changes", "versions", "seeds", "data_hash", "precision", "tf32", "deterministic"),
)
PLACE = ("host", "platform", "cpus")


def versions() -> dict[str, str]:
    """Return the versions of packages that can change a number."""
    found = {"metarun": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def commit() -> str | None:
    """Return the commit of metarun's checkout, with "+" if files have changed; None outside a checkout."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return None
    return head + "+" if _git("status", "--porcelain", "--untracked-files=no") else head


def changes() -> str | None:
    """Return a SHA-256 of the changes since the commit; None if there are none or this is not a checkout."""
    diff = _git("diff", "HEAD", "--binary", "--no-ext-diff", "--no-color")
    return hashlib.sha256(diff.encode("utf-8", "surrogateescape")).hexdigest() if diff else None


def _git(*words: str) -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), *words]
    try:
        output = subprocess.run(command, capture_output=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return output.decode("utf-8", "surrogateescape").strip()


def describe(config: Mapping[str, Any], device: str, data_hash: str) -> dict[str, Any]:
    """Return the content of `environment.json`, given a run's resolved config, device and the hash of its examples."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": masked(shlex.join(sys.orig_argv)),
        "directory": str(Path.cwd()),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "processor": processor(),
        "cpus": os.cpu_count(),
        "device": device,
        **_torch(device),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "commit": commit(),
        "changes": changes(),
        "versions": versions(),
        "seeds": {"seed": config["seed"], "test": config["test"]["seed"]},
        "data_hash": data_hash,
        **{key: config.get(key, False) for key in ("precision", "tf32", "deterministic")},
    }


def _torch(device: str) -> dict[str, Any]:
    """Torch's threads and instruction set, and the GPU with its libraries."""
    import torch

    found = {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    if not device.startswith("cuda"):
        return found
    gpu, cudnn = torch.cuda.get_device_name(device), torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {**found, "gpu": gpu, "cuda": torch.version.cuda, "cudnn": cudnn}


def processor() -> str:
    """Return the name of the CPU, if the system provides it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def compare_environments(
    before: Mapping[str, Any], now: Mapping[str, Any], keys: Sequence[str] = CHANGES_NUMBERS
) -> dict[str, str]:
    """Return which keys of two environments differ, and how: ``{"torch": "2.12.0 → 2.13.0"}``.

    Keys that are missing in one environment, such as those added in a later version, are ignored.
    """
    both = [key for key in keys if key in before and key in now]
    return dict(_compare({key: before[key] for key in both}, {key: now[key] for key in both}))


def _compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in dict.fromkeys([*before, *now]):
        one, other = before.get(key), now.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _compare(one, other)
        elif one != other:
            yield key, f"{_text(one)} → {_text(other)}"


def _text(value: Any) -> str:
    text = "none" if value is None else value[:12] if isinstance(value, str) and len(value) >= 40 else str(value)
    return "".join(sign if sign.isprintable() else "?" for sign in text)  # the file is untrusted
