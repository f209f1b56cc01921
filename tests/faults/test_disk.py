"""A full disk, missing permissions, removed folders: an error message, and the same command resumes afterwards."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.faults.bent import (
    BALLAST,
    at_renaming,
    die,
    fill_disk,
    lose_permissions,
    print_to,
    remove,
    replace_by_a_file,
    write_no_more,
)
from tests.faults.commands import Command, Ended, metarun
from tests.faults.conftest import TINY, assert_same_numbers, no_traceback, the_run, undisturbed
from tests.support.fake_images import write_pictures
from tests.support.fake_sounds import write_tones
from tests.support.fake_texts import write_texts

pytestmark = pytest.mark.command

RENAMINGS = range(1, 15, 3)  # some renamings of TINY; the last ones may not occur


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a small disk at `folder` within the block.

    Raises:
        subprocess.CalledProcessError: this process is not allowed to mount.
    """
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def may_mount(folder: Path) -> bool:
    try:
        with small_disk(folder / "mount", "64k"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@dataclass(frozen=True)
class Fault:
    """A fault of a results folder.

    Args:
        happens: injects it into the process of the run.
        reason: the system's message.
        undo: removes it.
    """

    happens: Callable[[Path], None]
    reason: str
    undo: Callable[[Path], None] = lambda _: None


def no_more_room(_: Path) -> None:
    write_no_more()


def remove_permissions(results: Path) -> None:
    lose_permissions(*results.rglob("runs/*"), *results.rglob("runs"), results)


def restore_permissions(results: Path) -> None:
    for path in (results, *results.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


FAULTS = {
    "no file may grow": Fault(no_more_room, "File too large"),
    "permissions are removed": Fault(remove_permissions, "Permission denied", restore_permissions),
    "results are removed": Fault(remove, "No such file or directory"),
    "a file is in the way": Fault(
        replace_by_a_file, "Not a directory", lambda results: results.unlink(missing_ok=True)
    ),
    "the disk is full": Fault(fill_disk, "No space left on device", lambda results: (results / BALLAST).unlink()),
}


def strike(fault: Fault, nth: int, folder: Path) -> Ended:
    """Inject a fault at a run's nth renaming, and undo it; return how the run ended."""
    ended = no_traceback(
        metarun(*TINY, folder=folder, before=partial(at_renaming, nth, partial(fault.happens, folder / "results")))
    )
    fault.undo(folder / "results")
    return ended


def assert_reported(ended: Ended, fault: Fault) -> None:
    """Check that the reason is the only error message, with the exit code of a user error."""
    assert ended.code == 2, ended
    complaint, end = ended.err.split("\n")
    assert complaint.startswith("metarun: error: ")
    assert f"cannot be written ({fault.reason})" in complaint
    assert end == ""


def fault_and_resume(name: str, nth: int, folder: Path, alone: Path) -> bool:
    """Return whether the fault had an effect; check that the same command resumes to the same numbers."""
    fault = FAULTS[name]
    folder.mkdir()
    if name == "the disk is full":
        with small_disk(folder / "results", "2m"):
            ended = strike(fault, nth, folder)
            again = no_traceback(metarun(*TINY, folder=folder))
            assert (again.code, again.err) == (0, ""), (ended, again)
            assert_same_numbers(the_run(folder), alone)
    else:
        ended = strike(fault, nth, folder)
        again = no_traceback(metarun(*TINY, folder=folder))
        assert (again.code, again.err) == (0, ""), (ended, again)
        assert_same_numbers(the_run(folder), alone)
    if ended.code != 0:
        assert_reported(ended, fault)
    return ended.code != 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without faults."""
    return undisturbed(TINY, tmp_path_factory.mktemp("alone") / "undisturbed")[0]


@pytest.fixture
def possible(tmp_path: Path) -> list[str]:
    """The faults that this process can inject; it may not be allowed to mount a disk."""
    return [name for name in FAULTS if name != "the disk is full" or may_mount(tmp_path)]


@pytest.mark.parametrize(("name", "nth"), [("permissions are removed", 3), ("results are removed", 9)])
def test_a_write_error_is_reported_and_the_run_can_be_resumed(name, nth, folder, alone):
    assert fault_and_resume(name, nth, folder / "struck", alone)


@pytest.mark.sampled
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FAULTS)
def test_after_a_fault_at_any_renaming_the_run_can_be_resumed(name, possible, folder, alone):
    if name in possible:
        effects = [fault_and_resume(name, nth, folder / f"{nth}", alone) for nth in RENAMINGS]
        print(f"{name}: {sum(effects)} times")
        assert sum(effects) >= len(RENAMINGS) - 1, effects


@pytest.mark.slow
def test_a_cache_that_does_not_fit_on_the_disk_is_reported_and_written_later(folder, run, monkeypatch):
    monkeypatch.setenv("METARUN_DATA", str(folder / "data"))
    write_pictures(folder / "pictures")
    words = ["train", "algo=nearest_centroid", "data=image_folder", "data.root=pictures", "test.tasks=4"]
    words += ["train.way=5", "train.query=2", "task.query=2", "train.validate_tasks=2"]
    ended = run(*words, before=write_no_more)
    assert ended.code == 2
    assert ended.err.startswith("metarun: error: ")
    assert "cannot be written (File too large); set" in ended.err
    assert not list((folder / "data").rglob("*.tmp"))
    assert run(*words).code == 0


def write_own_data(kind: str) -> str:
    """Write a file or folder of a kind of data; return its path and the keys that it needs."""
    if kind == "text":
        write_texts(Path("own.csv"))
        return "data.root=own.csv data.features=tokens backbone=bag"
    if kind == "audio":
        write_tones(Path("own"), [f"class{c}" for c in range(30)], 4)
        return "data.root=own data.rate=8000 data.seconds=0.2 data.fft=256 data.hop=100"
    rows = [f"{c},{c + i / 10},{i}" for c in range(30) for i in range(6)]
    Path("own.csv").write_text("\n".join(["who,size,day", *rows]) + "\n")
    return "data.root=own.csv " + ("data.label=who" if kind == "table" else "data.entity=who data.targets=[size]")


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize("kind", ["text", "audio", "table", "regression_table"])
def test_a_cache_that_cannot_be_written_is_reported_and_written_later(kind, folder, run, monkeypatch):
    monkeypatch.setenv("METARUN_DATA", str(folder / "data"))
    monkeypatch.chdir(folder)
    regression = kind == "regression_table"
    words = ["train", f"data={kind}", *write_own_data(kind).split(), "test.tasks=4", "train.validate_tasks=2"]
    words += ["algo=maml", "task=10points", "task.shot=2"] if regression else ["algo=nearest_centroid"]
    words += ["task.query=2", "train.iterations=2", "train.validate_every=2"]
    full = run(*words, before=write_no_more)
    assert full.code == 2
    assert full.err.startswith("metarun: error: ")
    assert "cannot be written (File too large); set METARUN_DATA to a writable folder." in full.err
    assert not list((folder / "data").rglob("*.tmp"))
    (folder / "data").mkdir(exist_ok=True)
    closed = run(*words, before=partial(lose_permissions, *(folder / "data").rglob("*"), folder / "data"))
    assert closed.code == 2
    assert "cannot be written (Permission denied); set METARUN_DATA to a writable folder." in closed.err
    for path in (folder / "data", *(folder / "data").rglob("*")):
        path.chmod(0o755)
    for nth in (1, 2, 3):
        killed = Command(words, folder, partial(at_renaming, nth, die)).end()
        assert killed.code in (0, -signal.SIGKILL), killed
    assert run(*words).code == 0
    for cache in (folder / "data").rglob("*-t*.npz"):
        cache.write_bytes(cache.read_bytes()[:-40])
    again = run(*words, "seed=1")
    assert again.code == 0
    assert "rebuilding it" in again.out + again.err


@pytest.mark.slow
def test_a_finished_run_is_shown_and_compared_in_a_read_only_folder(folder, run, alone):
    shutil.copytree(alone.parents[1], folder / "results")
    before = partial(remove_permissions, folder / "results")
    try:
        again = run(*TINY, before=before)
        assert (again.code, again.err) == (0, "")
        assert "Already finished" in again.out
        assert run("compare", before=before).out.count("sinusoid") >= 1
        refused = run(*TINY, "seed=7", before=before)
        assert refused.code == 2
        assert "cannot be written (Permission denied); set `results_dir` to a writable folder." in refused.err
        elsewhere = run("test", f"run={alone.name[-8:]}", "test.tasks=5", before=before)
        assert elsewhere.code == 2
        assert "cannot be written (Permission denied)" in elsewhere.err
        sweep = run(*TINY, "-m", "seed=7,8", before=before)
        assert sweep.code in (1, 2)
        assert "Permission denied" in sweep.err
    finally:
        restore_permissions(folder / "results")
    assert [path.name for path in (folder / "results").iterdir()] == ["runs"]


def test_a_full_output_device_does_not_end_a_run(folder):
    full = partial(print_to, "/dev/full")
    ended = no_traceback(metarun(*TINY, folder=folder, before=full))
    assert (ended.code, ended.err) == (
        0,
        "metarun: cannot print any more (No space left on device); the run continues.\n",
    )
    assert (the_run(folder) / "result.json").is_file()
    table = no_traceback(metarun("compare", folder=folder, before=full))
    assert table.code == 2
    assert table.err.endswith("cannot write the output: No space left on device; fix this and rerun the command.\n")
