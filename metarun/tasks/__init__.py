"""Few-shot tasks: their shape, the streams that draw them, and how a function of one task is run over many.

`metarun.tasks("omniglot")` is `metarun.load_tasks`.
"""

from metarun.system.callable_package import make_callable
from metarun.tasks.batch import Support, TaskBatch, TaskShape
from metarun.tasks.losses import mean_loss
from metarun.tasks.stream import TaskStream
from metarun.tasks.vectorize import over_tasks

__all__ = ["Support", "TaskBatch", "TaskShape", "TaskStream", "mean_loss", "over_tasks"]

make_callable(__name__)
