"""The code behind a class or function of the user's own as one hash: its file, and what this imports of theirs."""

import ast
import functools
import hashlib
import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

# Whose version no identity holds, as little as for metarun's own networks: `environment.json` does.
_OF_THE_RUN = frozenset({"torch", "numpy", "hydra", "omegaconf"})


def code_hash(found: Any, named: str = "") -> str | None:
    """Return a SHA-256 of the code of a class or function, None where it has no file.

    That is the file in which it is defined and those of the modules that this one imports, however far; of what is
    installed, and not the user's own, the file and the package's version. Imports are read, not run: modules that are
    imported by a name made at run time are not among them.

    Args:
        found: the class or function.
        named: the module by which it was found, which may take it from another one; "": the one that defines it.
    """
    modules = dict.fromkeys(filter(None, (named, _module_of(found))))
    files = dict(_closure(list(modules)))
    if not files:
        return None
    installed = {_version(name) for name in modules if _is_installed(files.get(name))} - {""}
    digests = [hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sorted(files)]
    if len(digests) == 1 and not installed:
        return digests[0]
    return hashlib.sha256("\n".join([*digests, *sorted(installed)]).encode()).hexdigest()


def _module_of(found: Any) -> str:
    while isinstance(found, functools.partial):
        found = found.func
    return getattr(inspect.unwrap(found) if callable(found) else found, "__module__", None) or ""


def _closure(names: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield the names and files of some modules, and of the user's own modules that those import."""
    seen: set[Path] = set()
    while names:
        name = names.pop()
        file = _file_of(name)
        if file is None or file in seen:
            continue
        seen.add(file)
        yield name, file
        if not _is_installed(file):
            names += [each for each in _imported(name, file) if not _is_installed(_file_of(each))]


def _file_of(name: str) -> Path | None:
    """Return the file of a module; None where there is none, or it is Python's or metarun's own."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("metarun", "__main__", ""):
        return None
    module = sys.modules.get(name)
    try:
        found = module.__spec__ if isinstance(module, ModuleType) else importlib.util.find_spec(name)
    except Exception:  # of a module of anybody's; whoever needs it will say so
        return None
    file = Path(found.origin) if found and found.has_location and found.origin else None
    return file if file and file.is_file() else None


@functools.cache
def _installed() -> tuple[Path, ...]:
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    return tuple({Path(folder).resolve() for folder in (*folders, site.getusersitepackages())})


def _is_installed(file: Path | None) -> bool:
    return file is not None and any(file.resolve().is_relative_to(folder) for folder in _installed())


def _version(module: str) -> str:
    """Return name and version of an installed package; "" of one that each run's `environment.json` names."""
    top = module.partition(".")[0]
    if top in _OF_THE_RUN:
        return ""
    try:
        return f"{top} {metadata.version(top)}"
    except metadata.PackageNotFoundError:  # it is called otherwise than what is imported
        return f"{top} {getattr(sys.modules.get(top), '__version__', '')}"


def _imported(name: str, file: Path) -> Iterator[str]:
    """Yield the modules that a module may import, in full: packages on the way, and what may be a module of one."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # an extension, or what will not be imported either
        return
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    yield from _with_packages(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_packages(alias.name)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from _with_packages(base)
            yield from (f"{base}.{alias.name}" for alias in node.names if base and alias.name != "*")


def _with_packages(name: str) -> Iterator[str]:
    """Yield a.b.c, a.b and a: to import the first runs the files of all."""
    parts = name.split(".")
    yield from (".".join(parts[:i]) for i in range(len(parts), 0, -1) if all(parts))
