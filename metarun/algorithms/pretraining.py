"""Pre-training of transfer methods: classify all meta-train classes."""

import torch
from torch import Tensor

from metarun.errors import UserError
from metarun.system.inputs import Inputs, map_inputs
from metarun.tasks.batch import TaskBatch


def pretraining_batch(tasks: TaskBatch) -> tuple[Inputs, Tensor]:
    """Return all support and query examples of the tasks as one batch, with their meta-train classes.

    Returns:
        (T * way * (shot + query), *shape) examples; as many int64 class numbers.
    """
    if tasks.classes is None:
        raise UserError("pre-training needs classes but these tasks have none", "use `data` with classes.")
    x = map_inputs(lambda *both: torch.cat(both, 1).flatten(0, 1), tasks.support_x, tasks.query_x)
    labels = torch.cat([tasks.support_y, tasks.query_y], 1)
    return x, tasks.classes.gather(1, labels).flatten()
