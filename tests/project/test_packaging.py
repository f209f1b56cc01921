"""The wheel with its config tree, repository files, pre-commit hooks, issue forms and make."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import metarun
from metarun.reporting.html.page import SCRIPTS

pytestmark = pytest.mark.command

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
MEGABYTE = 1_000_000
LINTERS = tuple(f".venv/bin/{tool}" for tool in ("ruff", "mypy", "lint-imports"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `python -m build` builds from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=SECONDS, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_contains_every_config_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {f"metarun/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert {name for name in packaged if "/local/" not in name} <= names, "local/ belongs to one checkout"
    assert {f"metarun/reporting/html/{name}" for name in ("page.html.j2", "style.css", *SCRIPTS)} <= names
    assert "metarun/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "conf/", "metarun/conf/local/default"))]


@pytest.mark.slow
def test_an_installed_wheel_composes_its_config_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, timeout=SECONDS, capture_output=True)

    def shown(*words: str) -> str:
        command = [str(site / "bin" / "metarun"), *words]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run(
            command, cwd=empty, env=environment, timeout=SECONDS, check=True, capture_output=True, text=True
        ).stdout

    assert "_target_: metarun.algorithms.MAML" in shown("train", "--cfg", "job")
    assert str(site / "metarun" / "conf") in shown("train", "--info", "searchpath")
    assert "initial learning rate" in shown("train", "--help", "train.outer_lr"), "the comments of the YAML"
    assert not list(empty.iterdir())


def test_no_tracked_file_exceeds_a_megabyte() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=SECONDS)
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert not [str(path) for path in files if path.is_file() and path.stat().st_size > MEGABYTE]


def test_pre_commit_runs_the_tools_of_make_lint() -> None:
    words = ["make", "-n", "lint", "VENV=.venv"]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
    lint = [re.sub(r" (\.|--check)", "", line) for line in shown.splitlines() if line.startswith(LINTERS)]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in local["hooks"]] == lint


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (metarun.__version__, "MIT")


@pytest.mark.parametrize("form", ["bug", "feature"])
def test_issue_forms_ask_for_command_and_doctor(form: str) -> None:
    template = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml").read_text())
    assert {"name", "description", "body"} <= set(template)
    asked = {field["id"]: field for field in template["body"]}
    assert {"command", "doctor"} <= set(asked)


def test_make_without_target_prints_help() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
    for target in ("run", "test", "test-fast", "test-all", "check", "clean"):
        assert f"make {target} " in shown


def test_an_old_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text(f"#!/bin/sh\nshift\nexec {sys.executable} -c 'import sys; sys.version_info = (3, 9, 1); '\"$1\"\n")
    old.chmod(0o755)
    command = ["make", "run", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert failed.returncode != 0
    assert "metarun needs Python 3.11 or newer but" in failed.stderr
    assert "is 3.9; name a newer one, e.g. make PYTHON=python3.12" in failed.stderr
