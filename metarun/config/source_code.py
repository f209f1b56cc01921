"""Hash the code of a user's class or function: its file and the user's modules that it imports."""

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

# Packages whose versions are in `environment.json` and not in run ids, as for metarun's own code.
_RECORDED_PACKAGES = frozenset({"torch", "numpy", "hydra", "omegaconf"})


def code_hash(found: Any, named: str = "") -> str | None:
    """Return a SHA-256 of the code of a class or function; None if it has no file.

    The hash covers the defining file and the modules that it imports, recursively; for installed packages, the file and
    the package's version. Imports are parsed, not run, so modules imported by a computed name are not included.

    Args:
        found: the class or function.
        named: the module in which it was found, which may import it from another one; "" for the defining module.
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
    """Yield the names and files of some modules and of the user's modules that they import."""
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
    """Return the file of a module; None if it has none or belongs to Python or metarun."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("metarun", "__main__", ""):
        return None
    module = sys.modules.get(name)
    try:
        found = module.__spec__ if isinstance(module, ModuleType) else importlib.util.find_spec(name)
    except Exception:  # user code may raise anything; the error is reported when the module is imported
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
    """Return name and version of an installed package; "" if `environment.json` records it."""
    top = module.partition(".")[0]
    if top in _RECORDED_PACKAGES:
        return ""
    try:
        return f"{top} {metadata.version(top)}"
    except metadata.PackageNotFoundError:  # the distribution has another name than the module
        return f"{top} {getattr(sys.modules.get(top), '__version__', '')}"


def _imported(name: str, file: Path) -> Iterator[str]:
    """Yield the full names of all modules that a module may import, including parent packages."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # an extension module, or not valid Python
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
    """Yield a.b.c, a.b and a: importing the first runs all three."""
    parts = name.split(".")
    yield from (".".join(parts[:i]) for i in range(len(parts), 0, -1) if all(parts))
