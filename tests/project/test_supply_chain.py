"""What the environment is made of is locked, with hashes, and nothing that comes from outside is executed."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import audit

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKED = {
    "dev": [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]],
    "build": PROJECT["dependency-groups"]["build"],
    "tools": PROJECT["dependency-groups"]["tools"],
}
HASH = r"--hash=sha256:[0-9a-f]{64}"


def entries(name: str) -> list[str]:
    """The lock's requirements, each with its hashes, without what comments say."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", "").strip().splitlines()


def pins(text: str) -> dict[str, set[str]]:
    """The versions by name: more than one where the marker chooses."""
    found: dict[str, set[str]] = {}
    for entry in text:
        name, version = re.match(r"([\w.-]+)==([^\s;]+)", entry).groups()
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


@pytest.mark.parametrize("name", LOCKED)
def test_every_locked_package_has_one_version_and_its_hashes(name):
    assert entries(name)
    for entry in entries(name):
        assert re.fullmatch(rf"[\w.-]+==[\w.+!-]+( ; [^\\]+?)?(\s+{HASH})+", entry), entry


@pytest.mark.parametrize("name", LOCKED)
def test_every_dependency_is_locked_in_its_range(name):
    locked = {**pins(entries(name)), **pins((ROOT / "constraints.txt").read_text().splitlines()[-1:])}
    for requirement in map(Requirement, LOCKED[name]):
        versions = locked.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement} is not in requirements/{name}.lock: make lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: make lock"


def test_the_lock_leaves_torch_and_what_only_its_cuda_build_needs_to_the_machine():
    names = pins(entries("dev"))
    assert not [name for name in names if re.match("torch$|nvidia|cuda|triton", name)]
    assert {"sympy", "networkx", "fsspec", "setuptools"} <= set(names)  # what its CPU build needs


def test_locks_agree_where_they_share_a_package():
    shared = pins(entries("dev")).keys() & pins(entries("build")).keys()
    assert {"hatchling", "setuptools"} <= shared
    for name in shared:
        assert pins(entries("dev"))[name] == pins(entries("build"))[name]


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").iterdir()), ids=lambda path: path.name)
def test_locks_name_no_machine_and_no_host(path):
    assert not re.search(r"https?:|file:|index-url|find-links|/\w+/\w+/", path.read_text())


@pytest.mark.parametrize("script", ["install_learn2learn.sh", "install_easyfsl.sh"])
def test_what_a_script_installs_from_source_is_checked_against_its_hash(script):
    text = (ROOT / "scripts" / script).read_text()
    assert "--require-hashes" in text
    pinned = [line for line in text.splitlines() if re.match(r"[\w-]+==", line)]
    assert pinned
    assert all(re.search(HASH, line) for line in pinned)


FLAW = {"id": "CVE-2026-1", "fix_versions": ["1.1"]}


def test_an_audit_without_a_finding_counts_what_it_asked():
    assert audit.judge([{"name": "a", "version": "1", "vulns": []}]) == (
        0,
        "audit: 0 known vulnerabilities in 1 packages",
    )


def test_an_audit_names_each_vulnerability_and_what_mends_it():
    code, told = audit.judge([{"name": "a", "version": "1.0", "vulns": [FLAW, {"id": "B", "fix_versions": []}]}])
    assert code == 1
    assert told.splitlines()[:2] == ["a 1.0: CVE-2026-1, mended in 1.1", "a 1.0: B, mended in no version yet"]


def test_an_audit_that_was_not_answered_is_no_success():
    code, told = audit.judge([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}])
    assert code == 2
    assert "could not be asked for 1 of 2 packages (b): this is no word on them" in told


def test_an_audit_asks_for_every_pin_once_and_keeps_its_marker():
    assert audit.pinned(
        ["b==2 ; sys_platform == 'win32' \\\n    --hash=sha256:0\n    # via a\na==1 \\\n", "# c\na==1"]
    ) == [
        "a==1",
        "b==2 ; sys_platform == 'win32'",
    ]


# Readers that execute what they read unless told not to, by the argument that tells them; None: nothing does.
READERS = {
    **{"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False)},
    **dict.fromkeys(("joblib.load", "torch.hub.load", "torch.jit.load", "pd.read_pickle", "dill.load")),
}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the package, by the dotted name of what is called."""
    for path in [*(ROOT / "metarun").rglob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


def test_no_reader_may_execute_what_it_reads():
    found = [(name, call) for name, call in calls() if name in READERS]
    assert {name for name, _ in found} == {"torch.load", "np.load"}
    for name, call in found:
        argument, value = READERS[name]
        told = {
            keyword.arg: keyword.value.value for keyword in call.keywords if isinstance(keyword.value, ast.Constant)
        }
        assert told.get(argument) is value, ast.unparse(call)


def test_the_linter_forbids_eval_exec_pickle_and_shells_without_exception():
    lint = PROJECT["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert {rule for rule in lint["ignore"] if rule.startswith("S")} == {"S101", "S603", "S607"}
    assert [folder for folder, rules in lint["per-file-ignores"].items() if "S" in rules] == ["tests/**"]
    excused = {
        rule for path in (ROOT / "metarun").rglob("*.py") for rule in re.findall(r"noqa: (S\d+)", path.read_text())
    }
    assert excused == {"S310", "S506", "S704"}, (
        "an URL of ours or METARUN_MIRROR's, a safe loader, the package's own style"
    )
