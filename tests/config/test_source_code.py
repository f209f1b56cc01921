"""The hash of user code: its file and the user's modules that it imports, recursively."""

import hashlib
import importlib
import sys
from pathlib import Path

import pytest

from metarun.config.source_code import code_hash


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    """A user's package with a name unique to this test; return its folder."""
    name = "users_" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    folder = tmp_path / name
    (folder / "deep").mkdir(parents=True)
    files = {
        f"{name}/__init__.py": "from .nets import Net\n",
        f"{name}/nets.py": "import math\nfrom . import blocks\nfrom ..top import y\n".replace("..top", f"{name}_top")
        + "class Net:\n    def __init__(self):\n        from .deep.late import x\n",
        f"{name}/blocks.py": "import numpy\n",
        f"{name}/unused.py": "",
        f"{name}/deep/__init__.py": "",
        f"{name}/deep/late.py": "x = 1\n",
        f"{name}_top.py": "y = 1\n",
    }
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def hash_of(package: Path) -> str | None:
    module = importlib.import_module(package.name)
    return code_hash(module.Net, package.name)


@pytest.mark.parametrize("file", ["__init__.py", "nets.py", "blocks.py", "deep/__init__.py", "deep/late.py", "../TOP"])
def test_a_changed_line_in_any_imported_module_changes_the_hash(package, file):
    before = hash_of(package)
    assert hash_of(package) == before
    path = package / file.replace("TOP", f"{package.name}_top.py")
    path.write_text(path.read_text() + "# a line\n")
    assert hash_of(package) != before


def test_modules_that_are_not_imported_do_not_count(package):
    before = hash_of(package)
    (package / "unused.py").write_text("z = 2\n")
    (package / "nets.txt").write_text("text")
    assert hash_of(package) == before


def test_the_hash_of_a_single_file_is_that_of_its_bytes(tmp_path, monkeypatch):
    (tmp_path / "users_one_file.py").write_text("import torch\nclass Net: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = importlib.import_module("users_one_file").Net
    assert (
        code_hash(found, "users_one_file") == hashlib.sha256((tmp_path / "users_one_file.py").read_bytes()).hexdigest()
    )


def test_the_version_of_an_installed_package_counts(monkeypatch):
    from optuna import create_study

    before = code_hash(create_study, "optuna")
    assert before == code_hash(create_study, "optuna")
    monkeypatch.setattr("metarun.config.source_code.metadata.version", lambda name: "99")
    assert code_hash(create_study, "optuna") != before


def test_builtins_have_no_hash():
    assert code_hash(dict, "builtins") is None
