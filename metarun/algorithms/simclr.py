"""SimCLR: pre-training without labels, by telling the views of an example from those of others."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.pretraining import centroid_logits, views_of_examples
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.system.limits import check_above, check_at_least
from metarun.tasks.batch import TaskBatch


class SimCLR(Stepless):
    """SimCLR (Chen, Kornblith, Norouzi, Hinton 2020, https://arxiv.org/abs/2002.05709).

    Two views of each example, changed at random, are embedded by the backbone and a projection head. The loss makes
    the views of one example similar and those of different ones dissimilar. A task is solved on the features of the
    backbone, without the projection head: a query is assigned to the nearest mean of features of length 1. `metarun
    test` takes other heads, such as `algo=baseline`.

    Deviation: Adam and batches of hundreds instead of LARS and thousands.

    Args:
        backbone: the network below the projection head.
        temperature: of the similarities.
        projection: numbers that the projection head returns.
    """

    unlabelled: ClassVar[bool] = True
    splittable: ClassVar[bool] = False  # pre-training sees one batch of examples
    predicts_from_features = True
    optional_weights: ClassVar[tuple[str, ...]] = ("projection.",)

    def __init__(self, backbone: Backbone, temperature: float = 0.5, projection: int = 64) -> None:
        super().__init__()
        check_above("algo.temperature", temperature, 0)
        check_at_least("algo.projection", projection, 1)
        self.backbone = backbone
        self.temperature = temperature
        self.projection = nn.Sequential(
            nn.Linear(backbone.features, backbone.features), nn.ReLU(), nn.Linear(backbone.features, projection)
        )

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the contrastive loss of the batch's examples, two queries of each of which are its views.

        Raises:
            UserError: there are not two.
        """
        x, views = views_of_examples(tasks)
        if views != 2:
            raise UserError(f"train.query={views} but algo=simclr compares two views", "set `train.query=2`.")
        one, other = self.projection(self.backbone(x)).unflatten(0, (-1, 2)).unbind(1)
        return nt_xent(one, other, self.temperature)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`."""
        return centroid_logits(self.backbone, support_x, support_y, query_x, way)


def nt_xent(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy (equation 1), the mean over all 2n views.

    Args:
        one: (n, features) a view of each example.
        other: (n, features) another view of each.
        temperature: of the cosines.
    """
    views = F.normalize(torch.cat([one, other]), dim=1)
    similarities = views @ views.T / temperature
    similarities = similarities.masked_fill(torch.eye(len(views), dtype=torch.bool, device=views.device), -torch.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(one))
    return F.cross_entropy(similarities, partner)
