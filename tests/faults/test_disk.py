"""A disk that fills up, rights that go, folders that go: a sentence, and afterwards the same command goes on."""

import shutil
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
    fill_disk,
    lose_rights,
    print_to,
    remove,
    replace_by_a_file,
    write_no_more,
)
from tests.faults.commands import Ended, metarun
from tests.faults.conftest import TINY, assert_same_numbers, the_run, undisturbed, without_traceback
from tests.support.fake_images import write_pictures

pytestmark = pytest.mark.command

RENAMINGS = range(1, 15, 3)  # some of those of TINY's files: the last ones may not come


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Within the block, `folder` is a small disk of its own.

    Raises:
        subprocess.CalledProcessError: this process may not mount one.
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
    """Something that happens to a results folder.

    Args:
        happens: to the process that makes the run, in that folder.
        reason: in the system's words.
        mend: undoes it.
    """

    happens: Callable[[Path], None]
    reason: str
    mend: Callable[[Path], None] = lambda _: None


def no_more_room(_: Path) -> None:
    write_no_more()


def take_rights(results: Path) -> None:
    lose_rights(*results.rglob("runs/*"), *results.rglob("runs"), results)


def give_rights(results: Path) -> None:
    for path in (results, *results.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


FAULTS = {
    "no file may grow": Fault(no_more_room, "File too large"),
    "rights are taken": Fault(take_rights, "Permission denied", give_rights),
    "results are removed": Fault(remove, "No such file or directory"),
    "a file stands there": Fault(replace_by_a_file, "Not a directory", lambda results: results.unlink(missing_ok=True)),
    "the disk is full": Fault(fill_disk, "No space left on device", lambda results: (results / BALLAST).unlink()),
}


def strike(fault: Fault, nth: int, folder: Path) -> Ended:
    """Let a fault happen at a run's nth renaming, and then mend it; return how the run ended."""
    ended = without_traceback(
        metarun(*TINY, folder=folder, before=partial(at_renaming, nth, partial(fault.happens, folder / "results")))
    )
    fault.mend(folder / "results")
    return ended


def assert_told(ended: Ended, fault: Fault) -> None:
    """The reason was told in one sentence at the end, and the exit code is that of what a user can mend."""
    assert ended.code == 2, ended
    complaint, end = ended.err.split("\n")
    assert complaint.startswith("metarun: error: ")
    assert f"cannot be written ({fault.reason})" in complaint
    assert end == ""


def a_fault_and_going_on(name: str, nth: int, folder: Path, alone: Path) -> bool:
    """Return whether the fault was felt; the same command goes on to the same numbers."""
    fault = FAULTS[name]
    folder.mkdir()
    if name == "the disk is full":
        with small_disk(folder / "results", "2m"):
            ended = strike(fault, nth, folder)
            again = without_traceback(metarun(*TINY, folder=folder))
            assert (again.code, again.err) == (0, ""), (ended, again)
            assert_same_numbers(the_run(folder), alone)
    else:
        ended = strike(fault, nth, folder)
        again = without_traceback(metarun(*TINY, folder=folder))
        assert (again.code, again.err) == (0, ""), (ended, again)
        assert_same_numbers(the_run(folder), alone)
    if ended.code != 0:
        assert_told(ended, fault)
    return ended.code != 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happened to."""
    return undisturbed(TINY, tmp_path_factory.mktemp("alone") / "undisturbed")[0]


@pytest.fixture
def possible(tmp_path: Path) -> list[str]:
    """The faults that this process can make: not everybody may mount a disk."""
    return [name for name in FAULTS if name != "the disk is full" or may_mount(tmp_path)]


@pytest.mark.parametrize(("name", "nth"), [("rights are taken", 3), ("results are removed", 9)])
def test_what_cannot_be_written_is_told_and_gone_on_with(name, nth, folder, alone):
    assert a_fault_and_going_on(name, nth, folder / "struck", alone)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_any_renaming_is_told_and_gone_on_with(name, possible, folder, alone):
    if name in possible:
        felt = [a_fault_and_going_on(name, nth, folder / f"{nth}", alone) for nth in RENAMINGS]
        print(f"{name}: {sum(felt)} times")
        assert sum(felt) >= len(RENAMINGS) - 1, felt


@pytest.mark.slow
def test_a_cache_that_does_not_fit_its_disk_is_told_and_made_when_there_is_room(folder, run, monkeypatch):
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


@pytest.mark.slow
def test_a_finished_run_is_shown_and_compared_where_nothing_can_be_written(folder, run, alone):
    shutil.copytree(alone.parents[1], folder / "results")
    before = partial(take_rights, folder / "results")
    try:
        again = run(*TINY, before=before)
        assert (again.code, again.err) == (0, "")
        assert "Already finished" in again.out
        assert run("compare", before=before).out.count("sinusoid") >= 1
        refused = run(*TINY, "seed=7", before=before)
        assert refused.code == 2
        assert "cannot be written (Permission denied); set `results_dir` to a folder of yours." in refused.err
        elsewhere = run("test", f"run={alone.name[-8:]}", "test.tasks=5", before=before)
        assert elsewhere.code == 2
        assert "cannot be written (Permission denied)" in elsewhere.err
        sweep = run(*TINY, "-m", "seed=7,8", before=before)
        assert sweep.code in (1, 2)
        assert "Permission denied" in sweep.err
    finally:
        give_rights(folder / "results")
    assert [path.name for path in (folder / "results").iterdir()] == ["runs"]


def test_output_that_nobody_can_take_ends_no_run(folder):
    full = partial(print_to, "/dev/full")
    ended = without_traceback(metarun(*TINY, folder=folder, before=full))
    assert (ended.code, ended.err) == (
        0,
        "metarun: cannot print any more (No space left on device); the run continues.\n",
    )
    assert (the_run(folder) / "result.json").is_file()
    table = without_traceback(metarun("compare", folder=folder, before=full))
    assert table.code == 2
    assert table.err.endswith("cannot write the output: No space left on device; fix this and rerun the command.\n")
