"""The Python interface: train, load, adapt, evaluate and compare; `import metarun` provides all of it."""

from metarun.api.evaluation import Evaluated, compare, evaluate
from metarun.api.learner import Learner
from metarun.api.run import Run, import_run, load, load_results, train
from metarun.api.tasks import Tasks, load_tasks

__all__ = [
    "Evaluated",
    "Learner",
    "Run",
    "Tasks",
    "compare",
    "evaluate",
    "import_run",
    "load",
    "load_results",
    "load_tasks",
    "train",
]
