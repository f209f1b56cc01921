import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.sandbox import WATCH, everything_below, tried


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session_folder: Path) -> Iterator[Path]:
    """An empty current folder; `outside/`, beside it, must not change whatever input is read."""
    importlib.import_module("torch._dynamo")  # makes a folder when some operation of torch imports it
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "keep.txt").write_text("mine")
    monkeypatch.chdir(inside)
    monkeypatch.setenv("HOME", str(inside))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    cache = os.environ["METARUN_DATA"]
    monkeypatch.setattr(WATCH, "allowed", (os.path.realpath(inside), os.path.realpath(cache)))
    before = everything_below(outside)
    yield inside
    assert everything_below(outside) == before


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist, which has its own counter
        session.config.workeroutput["tried"] = dict(tried)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    tried.update(getattr(node, "workeroutput", {}).get("tried", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tried:
        counts = ", ".join(f"{count:,} {how}" for how, count in sorted(tried.items()))
        terminalreporter.section("bad input")
        terminalreporter.line(f"{tried.total():,} answers: {counts}")
