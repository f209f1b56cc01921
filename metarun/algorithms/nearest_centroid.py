"""The floor: the nearest class mean, without learning."""

from typing import ClassVar, Literal

from torch import Tensor

from metarun.algorithms.protonet import prototypes, squared_distances
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_queries
from metarun.data.examples import FloorVectors
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.system.limits import check_one_of
from metarun.tasks.batch import TaskBatch
from metarun.tasks.raw_vectors import floor_vectors


class NearestCentroid(Stepless):
    """The floor: the nearest class mean of raw inputs, or of the features of an untrained network.

    A learned method should beat both. There is nothing to train, so a run only evaluates. With the checkpoint of
    another method (`metarun test run=… algo=nearest_centroid`) the features are that method's.

    Args:
        backbone: used only for inputs="features".
        inputs: "raw": the examples as vectors, see `floor_vectors`; "features": the features of the backbone.
        floor_vectors: what the data's floor is computed on, see `metarun.data.ClassDataset`.
    """

    learns: ClassVar[bool] = False

    def __init__(
        self, backbone: Backbone, inputs: Literal["raw", "features"] = "raw", floor_vectors: FloorVectors = "raw"
    ) -> None:
        super().__init__()
        self.backbone = backbone
        check_one_of("algo.inputs", inputs, ("raw", "features"))
        self.inputs, self.floor_vectors = inputs, floor_vectors
        self.predicts_from_features = inputs == "features"

    def meta_loss(self, tasks: TaskBatch) -> Tensor:  # noqa: ARG002, there is none
        """Refuse: there is nothing to train."""
        raise UserError("algo=nearest_centroid has nothing to train", "use algo=protonet to learn features.")

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`: negative squared distances."""
        if self.inputs == "raw":
            support, query = floor_vectors(support_x, query_x, self.floor_vectors)
        else:
            support, query = self.backbone(support_x), embed_queries(self.backbone, support_x, query_x)
        return -squared_distances(query, prototypes(support, support_y, way))
