"""In-context learning: a transformer that reads labelled examples and labels queries."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.stepless import Stepless
from metarun.algorithms.task_transformer import TaskTransformer, attend_to_similar
from metarun.backbones import Backbone, embed_together
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.system.limits import check_at_least
from metarun.tasks.batch import TaskBatch
from metarun.tasks.losses import mean_loss
from metarun.tasks.vectorize import over_tasks


class InContext(Stepless):
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

    def __init__(self, backbone: Backbone, max_way: int, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        check_at_least("algo.max_way", max_way, 1)
        self.backbone = backbone
        self.max_way = max_way
        self.transformer = TaskTransformer(width, layers, heads, max_way)
        self.embed = nn.Sequential(nn.Linear(backbone.features, width), nn.LayerNorm(width))
        self.embed_label = nn.Linear(max_way, width, bias=False)
        attend_to_similar(self.transformer.layers)

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the queries.

        The key of a task has permuted its labels already (see `ClassTaskStream`). If `max_way` is above its way, the
        labels that it uses are drawn here.
        """
        if self.max_way == tasks.way:
            return super().meta_loss(tasks)
        self._check(tasks.way)
        support_y, query_y = draw_labels(tasks, self.max_way)
        inputs = (tasks.support_x, support_y, tasks.query_x)
        return mean_loss(over_tasks(self.all_logits, self, self.how, *inputs), query_y)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`."""
        self._check(way)
        return self.all_logits(support_x, support_y, query_x)[:, :way]

    def all_logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
        """Return (way * query, max_way) logits of one task; the arguments are those of `logits`."""
        support, query = embed_together(self.backbone, support_x, query_x)
        centre = support.mean(0)
        support, query = self.embed(support - centre), self.embed(query - centre)
        labels = self.embed_label(F.one_hot(support_y, self.max_way).to(support.dtype))  # (way * shot, width)
        logits: Tensor = self.transformer(support + labels, query)
        return logits

    def _check(self, way: int) -> None:
        if way > self.max_way:
            raise UserError(
                f"tasks have {way} classes but this in_context has labels for {self.max_way}",
                f"meta-train a run with `algo.max_way={way}`, or lower the way.",
            )


def draw_labels(tasks: TaskBatch, max_way: int) -> tuple[Tensor, Tensor]:
    """Return other labels of support and query examples, (T, n) each: a random choice of `max_way` in each task."""
    chosen = torch.rand(len(tasks), max_way, device=tasks.device).argsort(-1)  # (T, max_way)
    return chosen.gather(1, tasks.support_y), chosen.gather(1, tasks.query_y)
