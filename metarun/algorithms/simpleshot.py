"""Transfer learning with a nearest-centroid head on transformed features."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.pretraining import pretraining_batch
from metarun.algorithms.protonet import prototypes, squared_distances
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_queries
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch
from metarun.tasks.losses import mean_loss

MEMORY = 100  # batches: in pre-training older ones fade from the mean, since the features they had are gone


class SimpleShot(Stepless):
    """SimpleShot (Wang, Chao, Weinberger, van der Maaten 2019, https://arxiv.org/abs/1911.04623).

    The backbone learns to tell all meta-train classes apart. A task is solved by the nearest class mean of its
    features, from which the mean of the meta-train features was taken away (centring) and whose length was made 1
    (CL2N, equations 2 and 3); that is all.

    Deviation: the mean of the meta-train features is a running one, gathered batch by batch in pre-training. Under a
    checkpoint of another method, which has none, it is gathered from meta-train tasks before meta-test.

    Args:
        backbone: the network whose features are compared.
        train_classes: how many meta-train classes there are; known from the data.
        transform: of the features; "UN": none, "L2N": length 1, "CL2N": centred, then length 1.

    Raises:
        UserError: `transform` has no such value.
    """

    splittable: ClassVar[bool] = False  # pre-training sees one batch of examples
    predicts_from_features = True
    optional_weights: ClassVar[tuple[str, ...]] = ("classifier.", "mean", "batches")
    mean: Tensor  # (features), of the meta-train examples
    batches: Tensor  # how many the mean was gathered from

    def __init__(
        self,
        backbone: Backbone,
        train_classes: int,
        transform: Literal["UN", "L2N", "CL2N"] = "CL2N",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        if transform not in ("UN", "L2N", "CL2N"):
            raise UserError(f"algo.transform='{transform}' is not one of UN, L2N, CL2N.")
        self.classifier = nn.Linear(backbone.features, train_classes)  # not needed once the backbone is trained
        self.register_buffer("mean", torch.zeros(backbone.features))
        self.register_buffer("batches", torch.zeros(()))
        self.transform = transform

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the batch's examples among all meta-train classes; gather the mean."""
        x, classes = pretraining_batch(tasks)
        features = self.backbone(x)
        self._gather(features.detach(), MEMORY)
        return mean_loss(self.classifier(features), classes)

    @torch.no_grad()
    def calibrate(self, tasks: TaskBatch) -> None:
        """See `Algorithm.calibrate`: gather the mean, to which all batches count alike."""
        self._gather(self.backbone(pretraining_batch(tasks)[0]), None)

    def _gather(self, features: Tensor, memory: int | None) -> None:
        self.batches += 1
        share = 1 / self.batches if memory is None else 1 / self.batches.clamp(max=memory)
        self.mean += share * (features.mean(0) - self.mean)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`: negative squared distances."""
        support = self._transformed(self.backbone(support_x))
        query = self._transformed(embed_queries(self.backbone, support_x, query_x))
        return -squared_distances(query, prototypes(support, support_y, way))

    def _transformed(self, features: Tensor) -> Tensor:
        if self.transform == "CL2N":
            features = features - self.mean
        return features if self.transform == "UN" else F.normalize(features, dim=1)
