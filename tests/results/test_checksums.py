"""Checksums of a finished run detect damage of its files."""

import subprocess

import pytest

from metarun.errors import UserError
from metarun.results import checksums
from metarun.results.run_directory import RunDirectory

ROW = {"id": "0", "status": "failed", "reason": "none"}


@pytest.fixture
def run(tmp_path):
    """The directory of a finished run."""
    run = RunDirectory(tmp_path)
    run.curve.write_text("iteration,loss\n1,0.5\n")
    run.config.write_text("seed: 0\n")
    run.write_result(ROW)
    return run


def test_checksums_can_be_verified_with_sha256sum(run):
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=run.path, capture_output=True, text=True, check=True)
    assert done.stdout == "config.yaml: OK\ncurve.csv: OK\nresult.json: OK\n"
    assert run.read_result() == ROW


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "grow"])
@pytest.mark.parametrize("name", ["result.json", "curve.csv"])
def test_a_changed_file_is_reported(run, name, damage):
    path = run.path / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-4] ^= 1
    path.write_bytes({"flip": content, "cut": content[:-1], "empty": b"", "grow": content + b" "}[damage])
    with pytest.raises(UserError, match=rf"{name} has changed since the run finished; run it again with"):
        checksums.check(path)


def test_a_changed_file_is_read_after_deleting_the_checksums(run):
    run.result.write_text(run.result.read_text().replace("none", "some"))
    with pytest.raises(UserError, match=r"or delete SHA256SUMS if you changed the file yourself\."):
        run.read_result()
    (run.path / "SHA256SUMS").unlink()
    assert run.read_result()["reason"] == "some"


@pytest.mark.parametrize("text", ["", "no sum\n", "0" * 64 + "  curve.csv\n", "\x00\xff", "cut"])
def test_damaged_checksums_are_an_error(run, text):
    path = run.path / "SHA256SUMS"
    path.write_bytes(path.read_bytes()[:-20] if text == "cut" else text.encode("latin-1"))
    with pytest.raises(UserError, match=r"SHA256SUMS is damaged, so result.json cannot be checked; run it"):
        run.read_result()


def test_files_without_a_checksum_are_not_checked(run):
    run.log.write_text("anything")
    checksums.check(run.log)
    checksums.check(run.path / "elsewhere" / "result.json")


def test_clearing_a_run_removes_its_checksums(run):
    run.clear()
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]
