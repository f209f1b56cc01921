"""Every file of a run, truncated, emptied or with a flipped bit: reported or harmless, never a wrong result."""

import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from metarun.results.bitwise_diff import compare_numbers, read_numbers
from metarun.results.run_directory import RunDirectory
from tests.faults.bent import at_renaming, die
from tests.faults.commands import Command, Ended, metarun
from tests.faults.conftest import TINY, assert_same_numbers, no_traceback, share_of, the_run, undisturbed

pytestmark = pytest.mark.command

Damage = Callable[[bytes, random.Random], bytes]


def cut(content: bytes, instants: random.Random) -> bytes:
    return content[: instants.randrange(len(content))] if content else content


def flip(content: bytes, instants: random.Random) -> bytes:
    flipped = bytearray(content)
    if flipped:
        flipped[instants.randrange(len(flipped))] ^= 1 << instants.randrange(8)
    return bytes(flipped)


def empty(content: bytes, instants: random.Random) -> bytes:
    return b""


DAMAGES = (cut, flip, empty)


class Runs:
    """Two finished runs, and the output of commands without damage.

    Args:
        folder: the current folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged, _ = undisturbed(TINY, folder)
        self.metarun(*TINY, "seed=1")
        self.rows = {row["id"]: row for row in self.compare()[1]}
        self.id = self.damaged.name[-8:]
        self.test = ["test", f"run={self.id}", "test.tasks=6"]
        self.metarun(*self.test)
        (tested,) = (path for path in (folder / "results" / "runs").iterdir() if path.name[-8:] not in self.rows)
        self.tested, self.numbers = tested, read_numbers(RunDirectory(tested))
        shutil.rmtree(tested)
        shutil.copytree(self.damaged, folder / "whole")

    def metarun(self, *words: str) -> Ended:
        ended = no_traceback(metarun(*words, folder=self.folder))
        assert ended.code in (0, 2), ended
        assert (ended.code == 2) == ("metarun: error: " in ended.err), ended
        return ended

    def compare(self) -> tuple[Ended, list[dict]]:
        ended = self.metarun("compare", "--format", "json")
        return ended, list(json.loads(ended.out))

    def restore(self) -> None:
        shutil.rmtree(self.damaged)
        shutil.rmtree(self.tested, ignore_errors=True)
        shutil.copytree(self.folder / "whole", self.damaged)

    def check(self, name: str) -> str:
        """Run every command on the damaged run, check that none shows wrong results, and return their output."""
        ended, rows = self.compare()
        shown = {row["id"]: row for row in rows}
        assert shown == {id: self.rows[id] for id in shown}, "a row is as it was, or it is not shown"
        assert len(shown) == len(self.rows) or f"skipped: {self.damaged.relative_to(self.folder)}" in ended.err
        report, plot = self.metarun("report"), self.metarun("plot", "curve")
        assert (report.code, plot.code) == (0, 0)
        test = self.metarun(*self.test)
        if test.code == 0:
            assert compare_numbers(self.numbers, read_numbers(RunDirectory(self.tested))) == []
        train = self.metarun(*TINY)
        assert train.code == 0 if self.id in shown else name in train.err
        return "".join(each.out + each.err for each in (ended, report, plot, test, train))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("damage") / "runs")


def damage_and_check(runs: Runs, name: str, damage: Damage, instants: random.Random) -> str:
    path = runs.damaged / name
    path.write_bytes(damage(path.read_bytes(), instants))
    output = runs.check(name)
    runs.restore()
    return output


# The message for each damaged file.
MESSAGES = {
    **dict.fromkeys(
        ("result.json", "tasks.parquet", "curve.csv", "examples.npz"), "has changed since the run finished"
    ),
    "config.yaml": "config.yaml ",
    "SHA256SUMS": "SHA256SUMS ",
    "best.pt": "using the weights in last.pt",
}
UNUSED_BITS = {"best.pt", "SHA256SUMS"}  # some of their bits do not matter


@pytest.mark.parametrize(("name", "damage"), [("result.json", flip), ("tasks.parquet", flip), ("best.pt", cut)])
def test_a_damaged_file_is_reported_and_changes_no_result(name, damage, runs, instants):
    assert MESSAGES[name] in damage_and_check(runs, name, damage, instants)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_file_of_a_finished_run_may_be_damaged(damage, runs, instants):
    names = sorted(path.name for path in runs.damaged.iterdir())
    assert {*MESSAGES, "last.pt", "environment.json", "inputs.npz", "run.log", "looks.jsonl", ".lock"} == set(names)
    names = share_of(names, instants)
    for name in names:
        output = damage_and_check(runs, name, damage, instants)
        assert MESSAGES.get(name, "") in output or (damage is flip and name in UNUSED_BITS), name
    print(f"{len(names)} files of a finished run: {damage.__name__}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_file_of_an_unfinished_run_may_be_damaged(folder, instants):
    alone, _ = undisturbed(TINY, folder / "undisturbed")
    place = folder / "stopped"
    place.mkdir()
    assert Command(TINY, place, partial(at_renaming, 8, die)).end().code < 0
    run = the_run(place)
    shutil.copytree(run, folder / "whole")
    names = sorted(path.name for path in run.iterdir())
    assert {"config.yaml", "environment.json", "last.pt", "previous.pt", "curve.csv", "run.log"} <= set(names)
    cases = share_of(product(names, DAMAGES), instants)
    for name, damage in cases:
        path = run / name
        path.write_bytes(damage(path.read_bytes(), instants))
        compared = no_traceback(metarun("compare", folder=place))
        assert compared.code == 2
        assert "no finished run in" in compared.err
        ended = no_traceback(metarun(*TINY, folder=place))
        assert ended.code == 0, (name, ended)
        assert_same_numbers(run, alone)
        shutil.rmtree(run)
        shutil.copytree(folder / "whole", run)
    print(f"{len(cases)} damaged files of an unfinished run")
