"""Packages that import a class when it is first used: a run needs one method and one data set of many."""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(package: str) -> Callable[[str], Any]:
    """Return a `__getattr__` for a package that imports a name from its module when it is first used.

    The modules are those of the `from … import …` in the package's `__init__.py`, where a type checker sees them too.
    """
    file = sys.modules[package].__file__
    assert file is not None
    imports = [node for node in ast.walk(ast.parse(Path(file).read_bytes())) if isinstance(node, ast.ImportFrom)]
    modules = {alias.name: node.module for node in imports for alias in node.names}

    def import_name(name: str) -> Any:
        if not (module := modules.get(name)):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    return import_name
