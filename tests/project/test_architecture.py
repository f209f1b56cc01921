"""The packages match the docs and the import contract."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def packages() -> set[str]:
    return {path.parent.name for path in (ROOT / "metarun").glob("*/__init__.py")}


def test_every_package_is_in_the_contract_and_in_the_docs():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {package for layer in contracts[0]["layers"] for package in layer.split(" | ")} - {"errors"}
    described = set(re.findall(r"(?m)^(?:\w+ +| +)(\w+) +\w", (ROOT / "docs/architecture.md").read_text()))
    assert layers == packages()
    assert packages() <= described


def test_the_root_package_contains_almost_nothing():
    assert {path.name for path in (ROOT / "metarun").glob("*.py")} == {"__init__.py", "__main__.py", "errors.py"}
