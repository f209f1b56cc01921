"""What a run was made with and where: versions, commit, host, command line."""

import os
import platform
import shlex
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from metarun import __version__
from metarun.credentials import masked

PACKAGES = ("torch", "numpy", "scipy", "pandas", "hydra-core", "omegaconf", "pillow", "matplotlib")


def versions() -> dict[str, str]:
    """Return the version of each package that can change a number."""
    found = {"metarun": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def commit() -> str | None:
    """Return the commit of metarun's checkout, with "+" where files were changed since; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + "+" if _git(root, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def describe(device: str, threads: int) -> dict[str, Any]:
    """Return what `environment.json` holds."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": masked(shlex.join(sys.orig_argv)),
        "directory": str(Path.cwd()),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "processor": processor(),
        "cpus": os.cpu_count(),
        "threads": threads,
        "device": device,
        "commit": commit(),
        "versions": versions(),
    }


def processor() -> str:
    """Return the CPU's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
