"""Commands as tests run them: in this process, or in one of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import pytest

from metarun.cli import main as cli


class Output(NamedTuple):
    """How a command ended: its exit code, what it printed on stdout and on stderr."""

    code: int
    out: str
    err: str


def run_here(*words: str) -> int:
    """Run `metarun` with some words in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["metarun", *words])
        return cli.main()


def run_process(*words: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `metarun` with some words in a process of its own, with variables added to the environment."""
    command = [sys.executable, "-m", "metarun", *words]
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=variables, check=False)


def replace_runs(monkeypatch: pytest.MonkeyPatch, stand_in: Callable[..., object]) -> None:
    """Let `metarun train` and `metarun test` call a stand-in with their config and do nothing else."""
    for name in ("train", "retest"):
        stub = ModuleType(f"metarun.runner.{name}")
        setattr(stub, name, stand_in)
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
