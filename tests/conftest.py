"""Shared fixtures: a private data cache, real data if available, and markers."""

import gc
import os
import shutil
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.commands import Output, run_here

NO_MIRROR = "METARUN_MIRROR is not set: real-data tests were skipped"
NO_BROWSER = "chromium is not installed: the browser test of the report was skipped"
REMEDIES = {
    NO_MIRROR: "Set it to a folder with omniglot/*.zip and caltech101/*.zip.",
    NO_BROWSER: "Install the system package chromium.",
}
SALT = 657  # of the sample: with it CI gets some tests of each kind in the time that it has
SAMPLE = float(os.environ.get("SAMPLE", "1"))  # share of the tests marked `sampled` to run; CI sets it
_MIRROR = os.environ.get("METARUN_MIRROR")
_SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the whole session, shared by all workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def _private_data(session_folder: Path) -> Iterator[None]:
    """Hide the user's data and render glyphs once; tests that need an empty cache set METARUN_DATA."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARUN_DATA", str(session_folder / "metarun-data"))
        patch.delenv("METARUN_MIRROR", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_are_timed() -> Iterator[None]:
    """Time few tasks, and choose between a loop and vmap without measuring both: no number depends on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metarun.evaluation.evaluate.TIMED_TASKS", 1)
        patch.setattr("metarun.runner.policy_runs.TIMED_SECONDS", 0.0)
        patch.setattr("metarun.tasks.vectorize.SMALL", float("inf"))
        yield


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty METARUN_DATA."""
    monkeypatch.setenv("METARUN_DATA", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def metarun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Output]]:
    """Run a command in this process, in an empty folder; modules imported from there are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield lambda *words: Output(run_here(*words), *capsys.readouterr())
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(f"{tmp_path}/"):
            del sys.modules[name]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat files written a moment ago as stable, so that their hashes are cached."""
    monkeypatch.setattr("metarun.system.hash_cache.STABLE_AFTER_NS", -(10**12))


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder with the real archives; a test that uses it through metarun sets METARUN_MIRROR to it."""
    if _MIRROR:
        return Path(_MIRROR)
    if not _SHARED_DATA.is_dir():
        pytest.skip(NO_MIRROR)
    return _SHARED_DATA


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip(NO_BROWSER)
    return found


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the automatic markers of `pyproject.toml`; drop what is beyond SAMPLE."""
    covered: dict[tuple[str, bool], set[tuple[str, str]]] = defaultdict(set)  # by test, and whether it is slow
    dropped: list[pytest.Item] = []
    for item in sorted(items, key=lambda item: zlib.crc32(item.nodeid.encode())):  # neighbouring cases share values
        if "metarun" in item.fixturenames:
            item.add_marker("command")
        if item.get_closest_marker("cross"):
            test = item.nodeid.partition("[")[0], item.get_closest_marker("slow") is not None
            values = {(name, repr(value)) for name, value in item.callspec.params.items()}
            if values <= covered[test]:
                item.add_marker("slow")
                item.add_marker("sampled")
            covered[test] |= values
        if item.get_closest_marker("sampled") and zlib.crc32(f"{SALT}{item.nodeid}".encode()) > SAMPLE * 2**32:
            dropped.append(item)
    if dropped:
        excluded = set(dropped)
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in excluded]


def pytest_collection_finish() -> None:
    """Exclude torch and the other modules from garbage collections, which they would slow down all the time."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for cause, remedy in REMEDIES.items():
        skipped = sum(cause in reason for reason in reasons)
        if skipped:
            terminalreporter.section("WARNING", sep="!", yellow=True, bold=True)
            terminalreporter.line(f"{cause} ({skipped} skipped). {remedy}")
