"""What transfer learning does first: learn to tell all meta-train classes apart."""

import torch
from torch import Tensor

from metarun.errors import UserError
from metarun.system.inputs import Inputs, map_inputs
from metarun.tasks.batch import TaskBatch


def pretraining_batch(tasks: TaskBatch) -> tuple[Inputs, Tensor]:
    """Forget that they are tasks: return all examples, support and query alike, with their meta-train classes.

    Returns:
        (T * way * (shot + query), *shape) examples; as many int64 class numbers.
    """
    if tasks.classes is None:
        raise UserError("these tasks do not say which meta-train classes they are made of", "use `data` with classes.")
    x = map_inputs(lambda *both: torch.cat(both, 1).flatten(0, 1), tasks.support_x, tasks.query_x)
    labels = torch.cat([tasks.support_y, tasks.query_y], 1)
    return x, tasks.classes.gather(1, labels).flatten()
