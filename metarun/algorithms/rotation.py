"""Rotation prediction: pre-training without labels, by telling which way up a picture is."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.pretraining import centroid_logits, views_of_examples
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch

TURNS = 4  # by 0, 90, 180 and 270 degrees


class Rotation(Stepless):
    """Rotation prediction, RotNet (Gidaris, Singh, Komodakis 2018, https://arxiv.org/abs/1803.07728).

    The backbone is pre-trained with a linear classifier that tells by which of four angles a picture was turned; each
    picture is in the batch at all four (section 3.1 of the paper). Pictures must have a right way up: rotated copies
    among the examples, as in Omniglot with rotations, leave nothing to learn. A task is solved as by `SimCLR`.

    Args:
        backbone: the network below the classifier.
    """

    unlabelled: ClassVar[bool] = True
    splittable: ClassVar[bool] = False  # pre-training sees one batch of examples
    predicts_from_features = True
    optional_weights: ClassVar[tuple[str, ...]] = ("classifier.",)

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.features, TURNS)

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the angles of the batch's queries.

        Raises:
            UserError: they are not square pictures.
        """
        x, _ = views_of_examples(tasks)
        if not isinstance(x, Tensor) or x.dim() != 4 or x.shape[-1] != x.shape[-2]:
            shape = "of several fields" if not isinstance(x, Tensor) else f"of shape {list(x.shape[1:])}"
            raise UserError(
                f"algo=rotation turns square pictures but the examples are {shape}", "use algo=simclr or other data."
            )
        turned = torch.cat([x.rot90(turns, (-2, -1)) for turns in range(TURNS)])
        angles = torch.arange(TURNS, device=x.device).repeat_interleave(len(x))
        return F.cross_entropy(self.classifier(self.backbone(turned)), angles)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`."""
        return centroid_logits(self.backbone, support_x, support_y, query_x, way)
