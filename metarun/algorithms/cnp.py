"""Conditional neural processes."""

import torch
from torch import Tensor

from metarun.algorithms.neural_process import NeuralProcess, mean_and_sd, perceptron
from metarun.backbones import Backbone, embed_together
from metarun.system.inputs import Inputs


class CNP(NeuralProcess):
    """Conditional neural processes (Garnelo et al. 2018, https://arxiv.org/abs/1807.01613).

    An encoder h maps every support pair to a representation r_i = h(x_i, y_i); their mean r describes the task; a
    decoder g maps r and a query to the mean and standard deviation of its target (equations 1 to 3). Trained by the
    likelihood of the query targets.

    Deviations: the backbone embeds x first, so that examples can be more than numbers, and the size of the support set
    in meta-training is that of the tasks, not drawn for every step.

    Args:
        backbone: maps examples to features.
        outputs: numbers of a target.
        width: units of each layer, and the size of r.
        layers: linear layers of h, and of g.
        min_sd: lower bound of the predicted standard deviation, in units of the targets.
    """

    def __init__(
        self, backbone: Backbone, outputs: int, width: int = 128, layers: int = 3, min_sd: float = 0.1
    ) -> None:
        super().__init__(backbone, outputs, min_sd, width=width, layers=layers)
        hidden = [width] * (layers - 1)
        self.encoder = perceptron([backbone.features + outputs, *hidden, width])  # h
        self.decoder = perceptron([width + backbone.features, *hidden, 2 * outputs])  # g

    def distribution(self, support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
        """See `NeuralProcess` (equations 1 to 3)."""
        support, query = embed_together(self.backbone, support_x, query_x)
        pairs = self.encoder(torch.cat([support, support_y], -1))  # (shot, width)
        task = pairs.mean(0).expand(len(query), -1)  # (query, width)
        return mean_and_sd(self.decoder(torch.cat([task, query], -1)), self.min_sd)
