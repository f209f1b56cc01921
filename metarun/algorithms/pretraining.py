"""What methods that pre-train a backbone share: batches of examples, and a head that needs no fitting."""

import torch
import torch.nn.functional as F
from torch import Tensor

from metarun.algorithms.protonet import prototypes, squared_distances
from metarun.backbones import Backbone, embed_queries
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


def views_of_examples(tasks: TaskBatch) -> tuple[Inputs, int]:
    """Return the queries of tasks whose classes are single examples as one batch, and how many there are of each.

    Returns:
        (T * way * query, *shape) changed copies, those of an example one after the other; query.
    """
    return map_inputs(lambda field: field.flatten(0, 1), tasks.query_x), tasks.query_y.shape[1] // tasks.way


def centroid_logits(backbone: Backbone, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
    """Return (way * query, way) negative squared distances to the class means of features of length 1.

    The arguments are those of `Stepless.logits`. It is SimpleShot's L2N (Wang et al. 2019), which needs no statistics
    of meta-train.
    """
    support = F.normalize(backbone(support_x), dim=1)
    query = F.normalize(embed_queries(backbone, support_x, query_x), dim=1)
    return -squared_distances(query, prototypes(support, support_y, way))
