"""The rooms of the package are those that the docs describe and the import contract holds."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rooms() -> set[str]:
    return {path.parent.name for path in (ROOT / "metarun").glob("*/__init__.py")}


def test_every_room_is_in_the_contract_and_in_the_docs():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {room for layer in contracts[0]["layers"] for room in layer.split(" | ")} - {"errors"}
    described = set(re.findall(r"(?m)^(?:\w+ +| +)(\w+) +\w", (ROOT / "docs/architecture.md").read_text()))
    assert layers == rooms()
    assert rooms() <= described


def test_the_packages_root_holds_next_to_nothing():
    assert {path.name for path in (ROOT / "metarun").glob("*.py")} == {"__init__.py", "__main__.py", "errors.py"}
