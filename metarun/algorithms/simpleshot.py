"""SimpleShot: transfer learning with a nearest-centroid head on transformed features."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.pretraining import pretraining_batch
from metarun.algorithms.protonet import prototypes, squared_distances
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_queries
from metarun.system.inputs import Inputs
from metarun.system.limits import check_one_of
from metarun.tasks.batch import TaskBatch
from metarun.tasks.losses import check_label_smoothing, smoothed_loss

MEAN_WINDOW = 100  # batches of the running mean in pre-training; features of older ones are outdated


class SimpleShot(Stepless):
    """SimpleShot (Wang, Chao, Weinberger, van der Maaten 2019, https://arxiv.org/abs/1911.04623).

    The backbone is pre-trained to classify all meta-train classes. A query is assigned to the nearest class mean of
    features that are centred by the mean of the meta-train features and normalised to length 1 (CL2N, equations 2 and
    3).

    Deviation: the mean of the meta-train features is a running mean over the batches of pre-training. For the
    checkpoint of another method, which has none, it is computed from meta-train tasks before meta-test.

    Args:
        backbone: the network whose features are compared.
        train_classes: number of meta-train classes, set from the data.
        transform: of the features; "UN": none, "L2N": length 1, "CL2N": centred, then length 1.
        label_smoothing: in pre-training, the probability that targets give to the other classes in equal parts.
    """

    splittable: ClassVar[bool] = False  # pre-training sees one batch of examples
    predicts_from_features = True
    optional_weights: ClassVar[tuple[str, ...]] = ("classifier.", "mean", "batches")
    mean: Tensor  # (features), of the meta-train examples
    batches: Tensor  # number of batches in the mean

    def __init__(
        self,
        backbone: Backbone,
        train_classes: int,
        transform: Literal["UN", "L2N", "CL2N"] = "CL2N",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        check_label_smoothing(label_smoothing)
        self.backbone = backbone
        check_one_of("algo.transform", transform, ("UN", "L2N", "CL2N"))
        self.classifier = nn.Linear(backbone.features, train_classes)  # not needed once the backbone is trained
        self.register_buffer("mean", torch.zeros(backbone.features))
        self.register_buffer("batches", torch.zeros(()))
        self.transform = transform
        self.label_smoothing = label_smoothing

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the batch's examples among all meta-train classes; update the mean."""
        x, classes = pretraining_batch(tasks)
        features = self.backbone(x)
        self._update_mean(features.detach(), MEAN_WINDOW)
        return smoothed_loss(self.classifier(features), classes, self.label_smoothing)

    @torch.no_grad()
    def calibrate(self, tasks: TaskBatch) -> None:
        """See `Algorithm.calibrate`: update the mean, in which all batches have the same weight."""
        self._update_mean(self.backbone(pretraining_batch(tasks)[0]), None)

    def _update_mean(self, features: Tensor, window: int | None) -> None:
        self.batches += 1
        share = 1 / self.batches if window is None else 1 / self.batches.clamp(max=window)
        self.mean += share * (features.mean(0) - self.mean)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`: negative squared distances."""
        support = self._transform(self.backbone(support_x))
        query = self._transform(embed_queries(self.backbone, support_x, query_x))
        return -squared_distances(query, prototypes(support, support_y, way))

    def _transform(self, features: Tensor) -> Tensor:
        if self.transform == "CL2N":
            features = features - self.mean
        return features if self.transform == "UN" else F.normalize(features, dim=1)
