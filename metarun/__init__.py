"""metarun: an experiment runner for meta-learning.

The command line is `metarun`. From Python: `train`, `load`, `load_results`, `load_tasks`, `evaluate`, `compare` and
`import_run`, which import torch when they are first used. `results(…)` and `tasks(…)` are other names of
`load_results` and `load_tasks`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metarun.system.version import __version__

if TYPE_CHECKING:
    from metarun.api import (
        Evaluated,
        Learner,
        Run,
        Tasks,
        compare,
        evaluate,
        import_run,
        load,
        load_results,
        load_tasks,
        train,
    )
    from metarun.api import load_results as results
    from metarun.api import load_tasks as tasks
    from metarun.errors import RunFailed, UserError

__all__ = [
    "Evaluated",
    "Learner",
    "Run",
    "RunFailed",
    "Tasks",
    "UserError",
    "__version__",
    "compare",
    "evaluate",
    "import_run",
    "load",
    "load_results",
    "load_tasks",
    "results",
    "tasks",
    "train",
]
_CALLABLE_PACKAGES = ("results", "tasks")


def __getattr__(name: str) -> Any:
    """Import what is asked for: `import metarun` itself loads nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'metarun' has no attribute {name!r}")
    if name in _CALLABLE_PACKAGES:
        return import_module(f"metarun.{name}")
    return getattr(import_module("metarun.errors" if name in ("RunFailed", "UserError") else "metarun.api"), name)


def __dir__() -> list[str]:
    return __all__
