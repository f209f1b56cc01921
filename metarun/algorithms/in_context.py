"""In-context learning: a transformer that reads labelled examples and labels queries."""

import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.label_reader import LabelReader
from metarun.algorithms.task_transformer import TaskTransformer, attend_to_similar
from metarun.backbones import Backbone, embed_together
from metarun.system.inputs import Inputs
from metarun.system.limits import check_at_least


class InContext(LabelReader):
    """A learner in the weights of a transformer, like GPICL (Kirsch et al. 2022, https://arxiv.org/abs/2212.04458).

    A transformer reads the support set, a token for each example and its one-hot label, and one token for each query
    without a label; the query's last state is mapped to logits. Nothing but meta-training tells it to compare examples.
    The labels of a task are a random permutation, so that no class has a label of its own to memorise.

    Deviations: all tokens attend to the support tokens only and have no positions, so the order of the support set does
    not matter and no query sees another; a backbone embeds the examples; no random projection of them. Two things make
    attention compare examples from the start, or the loss stays at chance for long: features are centred on the mean of
    the support set, and the weights of keys begin as those of queries.

    Args:
        backbone: maps examples to features.
        max_way: the largest way. Tasks of fewer classes get a random choice of these labels in meta-training.
        width: numbers of a token.
        layers: of attention and feed-forward.
        heads: of each attention; they divide the width.
    """

    predicts_from_features = True
    option = "in_context"

    def __init__(self, backbone: Backbone, max_way: int, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        check_at_least("algo.max_way", max_way, 1)
        self.backbone = backbone
        self.max_way = max_way
        self.transformer = TaskTransformer(width, layers, heads, max_way)
        self.embed = nn.Sequential(nn.Linear(backbone.features, width), nn.LayerNorm(width))
        self.embed_label = nn.Linear(max_way, width, bias=False)
        attend_to_similar(self.transformer.layers)

    def all_logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
        """See `LabelReader`."""
        support, query = embed_together(self.backbone, support_x, query_x)
        centre = support.mean(0)
        support, query = self.embed(support - centre), self.embed(query - centre)
        labels = self.embed_label(F.one_hot(support_y, self.max_way).to(support.dtype))  # (way * shot, width)
        logits: Tensor = self.transformer(support + labels, query)
        return logits
