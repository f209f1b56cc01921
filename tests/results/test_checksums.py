"""What a run's files held is known, so that no damage passes for a figure."""

import subprocess

import pytest

from metarun.errors import UserError
from metarun.results import checksums as sums
from metarun.results.run_directory import RunDirectory

ROW = {"id": "0", "status": "failed", "reason": "none"}


@pytest.fixture
def run(tmp_path):
    """A run's directory, finished."""
    run = RunDirectory(tmp_path)
    run.curve.write_text("iteration,loss\n1,0.5\n")
    run.config.write_text("seed: 0\n")
    run.write_result(ROW)
    return run


def test_sums_are_those_that_every_system_checks(run):
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=run.path, capture_output=True, text=True, check=True)
    assert done.stdout == "config.yaml: OK\ncurve.csv: OK\nresult.json: OK\n"
    assert run.read_result() == ROW


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "grow"])
@pytest.mark.parametrize("name", ["result.json", "curve.csv"])
def test_a_file_that_is_not_what_it_was_is_told(run, name, damage):
    path = run.path / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-4] ^= 1
    path.write_bytes({"flip": content, "cut": content[:-1], "empty": b"", "grow": content + b" "}[damage])
    with pytest.raises(
        UserError, match=rf"{name} is not what it was when the run was finished; make the run again with"
    ):
        sums.check(path)


def test_who_changes_a_file_vouches_for_it_by_deleting_the_sums(run):
    run.result.write_text(run.result.read_text().replace("none", "some"))
    with pytest.raises(UserError, match=r"or delete SHA256SUMS beside it if you changed it yourself\."):
        run.read_result()
    (run.path / "SHA256SUMS").unlink()
    assert run.read_result()["reason"] == "some"


@pytest.mark.parametrize("text", ["", "no sum\n", "0" * 64 + "  curve.csv\n", "\x00\xff", "cut"])
def test_damaged_sums_vouch_for_nothing(run, text):
    path = run.path / "SHA256SUMS"
    path.write_bytes(path.read_bytes()[:-20] if text == "cut" else text.encode("latin-1"))
    with pytest.raises(UserError, match=r"SHA256SUMS is damaged, so that nobody knows of result.json; make the run"):
        run.read_result()


def test_what_is_not_among_the_sums_is_not_judged(run):
    run.log.write_text("anything")
    sums.check(run.log)
    sums.check(run.path / "elsewhere" / "result.json")


def test_a_run_that_is_forgotten_has_no_sums(run):
    run.forget()
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]
