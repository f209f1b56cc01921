"""Transformer neural processes."""

import torch
from torch import Tensor

from metarun.algorithms.neural_process import NeuralProcess, mean_and_sd, perceptron
from metarun.algorithms.task_transformer import TaskTransformer
from metarun.backbones import Backbone, embed_together
from metarun.system.inputs import Inputs


class TransformerNP(NeuralProcess):
    """Transformer neural processes (Nguyen and Grover 2022, https://arxiv.org/abs/2207.04179), the diagonal one, TNP-D.

    A transformer reads the task as a sequence without positions: a token for every support pair (x, y), and one for
    every query (x, 0). All tokens attend to the support tokens only, so no query sees another and the order of the
    support set does not matter. A query's last state is mapped to the mean and standard deviation of its target.

    Deviations: the backbone embeds x, normalisation is before each sublayer as in `backbone=transformer`, and the
    feed-forward networks are four times the width.

    Args:
        backbone: maps examples to features.
        outputs: numbers of a target.
        width: numbers of a token.
        layers: of attention and feed-forward.
        heads: of each attention; they divide the width.
        min_sd: lower bound of the predicted standard deviation, in units of the targets.
    """

    def __init__(
        self, backbone: Backbone, outputs: int, width: int = 64, layers: int = 3, heads: int = 4, min_sd: float = 0.05
    ) -> None:
        super().__init__(backbone, outputs, min_sd, width=width)
        self.embed = perceptron([backbone.features + outputs, width, width])
        self.transformer = TaskTransformer(width, layers, heads, 2 * outputs)

    def distribution(self, support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
        """See `NeuralProcess` (section 3.2)."""
        support, query = embed_together(self.backbone, support_x, query_x)
        unknown = support_y.new_zeros(len(query), support_y.shape[-1])
        pairs, padded = (torch.cat(each, -1) for each in ((support, support_y), (query, unknown)))
        return mean_and_sd(self.transformer(self.embed(pairs), self.embed(padded)), self.min_sd)
