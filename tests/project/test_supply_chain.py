"""The environment is locked with hashes, and untrusted input is never executed."""

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
    """The requirements of a lock with their hashes, without comments."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", "").strip().splitlines()


def pins(text: str) -> dict[str, set[str]]:
    """The versions by name; there are several if markers select one."""
    found: dict[str, set[str]] = {}
    for entry in text:
        name, version = re.match(r"([\w.-]+)==([^\s;]+)", entry).groups()
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


@pytest.mark.parametrize("name", LOCKED)
def test_every_locked_package_has_one_version_and_hashes(name):
    assert entries(name)
    for entry in entries(name):
        assert re.fullmatch(rf"[\w.-]+==[\w.+!-]+( ; [^\\]+?)?(\s+{HASH})+", entry), entry


@pytest.mark.parametrize("name", LOCKED)
def test_every_dependency_is_locked_within_its_range(name):
    locked = {**pins(entries(name)), **pins((ROOT / "constraints.txt").read_text().splitlines()[-1:])}
    for requirement in map(Requirement, LOCKED[name]):
        versions = locked.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement} is not in requirements/{name}.lock: make lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: make lock"


def test_the_lock_excludes_torch_and_its_cuda_packages():
    names = pins(entries("dev"))
    assert not [name for name in names if re.match("torch$|nvidia|cuda|triton", name)]
    assert {"sympy", "networkx", "fsspec", "setuptools"} <= set(names)  # what its CPU build needs


def test_locks_agree_on_shared_packages():
    shared = pins(entries("dev")).keys() & pins(entries("build")).keys()
    assert {"hatchling", "setuptools"} <= shared
    for name in shared:
        assert pins(entries("dev"))[name] == pins(entries("build"))[name]


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").iterdir()), ids=lambda path: path.name)
def test_locks_contain_no_host_and_no_local_path(path):
    assert not re.search(r"https?:|file:|index-url|find-links|/\w+/\w+/", path.read_text())


@pytest.mark.parametrize("script", ["install_learn2learn.sh", "install_easyfsl.sh"])
def test_install_scripts_check_source_packages_against_hashes(script):
    text = (ROOT / "scripts" / script).read_text()
    assert "--require-hashes" in text
    pinned = [line for line in text.splitlines() if re.match(r"[\w-]+==", line)]
    assert pinned
    assert all(re.search(HASH, line) for line in pinned)


FLAW = {"id": "CVE-2026-1", "fix_versions": ["1.1"]}


def test_a_clean_audit_counts_its_packages():
    assert audit.summarise([{"name": "a", "version": "1", "vulns": []}]) == (
        0,
        "audit: 0 known vulnerabilities in 1 packages",
    )


def test_an_audit_names_each_vulnerability_and_its_fix():
    code, text = audit.summarise([{"name": "a", "version": "1.0", "vulns": [FLAW, {"id": "B", "fix_versions": []}]}])
    assert code == 1
    assert text.splitlines()[:2] == ["a 1.0: CVE-2026-1, fixed in 1.1", "a 1.0: B, fixed in no version yet"]


def test_an_audit_without_answers_fails():
    code, text = audit.summarise(
        [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}]
    )
    assert code == 2
    assert "no answer for 1 of 2 packages (b), which were not checked" in text


def test_an_audit_checks_every_pin_once_and_keeps_its_marker():
    assert audit.pinned(
        ["b==2 ; sys_platform == 'win32' \\\n    --hash=sha256:0\n    # via a\na==1 \\\n", "# c\na==1"]
    ) == [
        "a==1",
        "b==2 ; sys_platform == 'win32'",
    ]


# Readers that can execute their input, with the argument that prevents it; None: nothing prevents it.
READERS = {
    **{"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False)},
    **dict.fromkeys(("joblib.load", "torch.hub.load", "torch.jit.load", "pd.read_pickle", "dill.load")),
}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the package, with the dotted name of the callee."""
    for path in [*(ROOT / "metarun").rglob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


def test_no_reader_can_execute_its_input():
    found = [(name, call) for name, call in calls() if name in READERS]
    assert {name for name, _ in found} == {"torch.load", "np.load"}
    for name, call in found:
        argument, value = READERS[name]
        constants = {
            keyword.arg: keyword.value.value for keyword in call.keywords if isinstance(keyword.value, ast.Constant)
        }
        assert constants.get(argument) is value, ast.unparse(call)


def test_the_linter_forbids_eval_exec_pickle_and_shells():
    lint = PROJECT["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert {rule for rule in lint["ignore"] if rule.startswith("S")} == {"S101", "S603", "S607"}
    assert [folder for folder, rules in lint["per-file-ignores"].items() if "S" in rules] == ["tests/**"]
    excused = {
        rule for path in (ROOT / "metarun").rglob("*.py") for rule in re.findall(r"noqa: (S\d+)", path.read_text())
    }
    assert excused == {"S310", "S506", "S704"}, (
        "one of our URLs or METARUN_MIRROR, a safe YAML loader, the package's own CSS"
    )
