"""Run commands in this process or in a new one."""

import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import pytest

from metarun.cli import main as cli


class Output(NamedTuple):
    """The exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


def run_here(*words: str) -> int:
    """Run `metarun` with these arguments in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["metarun", *words])
        return cli.main()


def run_process(*words: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `metarun` with these arguments in a new process, with additional environment variables."""
    command = [sys.executable, "-m", "metarun", *words]
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=variables, check=False)


def replace_runs(monkeypatch: pytest.MonkeyPatch, function: Callable[..., object]) -> None:
    """Make `metarun train` and `metarun test` only call `function` with their config."""
    for name in ("train", "retest"):
        stub = ModuleType(f"metarun.runner.{name}")
        setattr(stub, name, function)
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
