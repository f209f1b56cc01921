"""The nearest class mean, with nothing learned."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from metarun.algorithms.algorithm import Algorithm
from metarun.algorithms.protonet import prototypes, squared_distances
from metarun.backbones import Backbone
from metarun.errors import UserError
from metarun.over_tasks import How, over_tasks
from metarun.tasks import TaskBatch


class NearestCentroid(Algorithm):
    """The floors: the nearest class mean of raw inputs, or of the features of a network that nobody trained.

    What a learned method adds is what it has above these two. There is nothing to train, so a run goes straight to
    meta-test; on the checkpoint of another method (`metarun test run=… algo=nearest_centroid`) the features are that
    method's.

    Args:
        backbone: used for inputs="features" only.
        inputs: "raw": the numbers of an example as they are; "features": what the backbone makes of them.
        over_tasks: how a batch of tasks is run, see `over_tasks`.

    Raises:
        UserError: `inputs` has no such value.
    """

    learns: ClassVar[bool] = False

    def __init__(
        self, backbone: Backbone, inputs: Literal["raw", "features"] = "raw", over_tasks: How = "auto"
    ) -> None:
        super().__init__()
        if inputs not in ("raw", "features"):
            raise UserError(f"algo.inputs='{inputs}' is not one of raw, features.")
        self.backbone = backbone
        self.inputs = inputs
        self.how = over_tasks

    def meta_loss(self, tasks: TaskBatch) -> Tensor:  # noqa: ARG002, there is none
        """Refuse: there is nothing to train."""
        raise UserError("algo=nearest_centroid has nothing to train; for a learned space use algo=protonet.")

    @torch.no_grad()
    def predict(self, tasks: TaskBatch, steps: int) -> Tensor:  # noqa: ARG002, no steps are taken
        """See `Algorithm.predict`: (1, T, way * query, way), there are no steps."""

        represent = self.backbone if self.inputs == "features" else nn.Flatten()

        def of_one_task(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
            centroids = prototypes(represent(support_x), support_y, tasks.way)
            return -squared_distances(represent(query_x), centroids)

        return over_tasks(of_one_task, self, self.how, tasks.support_x, tasks.support_y, tasks.query_x)[None]
