"""What every test shares: a cache of its own, and the real data where they are."""

import os
import shutil
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.commands import Output, run_here

NOT_RUN = "METARUN_MIRROR is not set: real-data tests did not run"
NO_BROWSER = "there is no chromium on this machine: the test that clicks through a report did not run"
REMEDIES = {
    NOT_RUN: "Set it to a folder that holds omniglot/*.zip and caltech101/*.zip.",
    NO_BROWSER: "Install the system's package chromium.",
}
CROSSES_SHARE = float(os.environ.get("CROSSES_SHARE", "1"))  # of the slow crosses, of which CI tries a sample
_MIRROR = os.environ.get("METARUN_MIRROR")
_BESIDE = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the whole session, whichever worker asks."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def _private_data(session_folder: Path) -> Iterator[None]:
    """No test sees the user's data; glyphs render once for all; what needs an empty cache sets METARUN_DATA itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METARUN_DATA", str(session_folder / "metarun-data"))
        patch.delenv("METARUN_MIRROR", raising=False)
        yield


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """METARUN_DATA, empty."""
    monkeypatch.setenv("METARUN_DATA", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def metarun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Output]:
    """Run a command in this process; the test begins in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: Output(run_here(*words), *capsys.readouterr())


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written a moment ago counts as settled: what is found out about it is kept."""
    monkeypatch.setattr("metarun.system.hash_cache.SETTLED", -(10**12))


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder with the real archives; a test that reads them through metarun sets METARUN_MIRROR to it."""
    if _MIRROR:
        return Path(_MIRROR)
    if not _BESIDE.is_dir():
        pytest.skip(NOT_RUN)
    return _BESIDE


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's browser, for tests that click."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip(NO_BROWSER)
    return found


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the markers that `pyproject.toml` says are automatic; drop the crosses beyond CROSSES_SHARE."""
    shown: dict[str, set[tuple[str, str]]] = defaultdict(set)
    dropped: list[pytest.Item] = []
    for item in sorted(items, key=lambda item: zlib.crc32(item.nodeid.encode())):  # neighbours would share values
        if "metarun" in item.fixturenames:
            item.add_marker("command")
        if item.get_closest_marker("cross") and not item.get_closest_marker("slow"):
            test = item.nodeid.partition("[")[0]
            values = {(name, repr(value)) for name, value in item.callspec.params.items()}
            if values <= shown[test]:
                item.add_marker("slow")
                if zlib.crc32(item.nodeid.encode()[::-1]) > CROSSES_SHARE * 2**32:
                    dropped.append(item)
            shown[test] |= values
    if dropped:
        unwanted = set(dropped)
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in unwanted]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for not_run, remedy in REMEDIES.items():
        skipped = sum(not_run in reason for reason in reasons)
        if skipped:
            terminalreporter.section("WARNING", sep="!", yellow=True, bold=True)
            terminalreporter.line(f"{not_run} ({skipped} skipped). {remedy}")
