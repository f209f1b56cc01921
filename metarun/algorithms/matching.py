"""Matching networks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.inner_loop import check_steps
from metarun.algorithms.protonet import cosines
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_together
from metarun.system.inputs import Inputs
from metarun.system.limits import check_above, check_at_least


class MatchingNet(Stepless):
    """Matching networks (Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra 2016, https://arxiv.org/abs/1606.04080).

    A query attends to the support examples by a softmax over their cosines; the probability of a class is the attention
    to its examples (equation 1). The logits are the logarithms of these probabilities. With full context embeddings an
    LSTM first reads the support set as a sequence, and each query reads the support set (section 2.1.2).

    The paper does not scale the cosines, so no probability in a 5-way 1-shot task exceeds 0.65. A scale of 1 is the
    paper's; a larger one permits higher probabilities. Support and query go through the backbone together, as in
    `ProtoNet`.

    Args:
        backbone: maps examples to features; f' and g' of the paper.
        full_context: use full context embeddings; they depend on the order of the support examples.
        read_steps: how often a query reads the support set with full context (K of equation 3).
        scale: factor of the cosines.
        normalise_query: use cosines; false: normalise only the support features, as easyfsl does, so that longer
            queries attend more sharply.
    """

    predicts_from_features = True

    def __init__(
        self,
        backbone: Backbone,
        full_context: bool = False,
        read_steps: int = 5,
        scale: float = 1.0,
        normalise_query: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        check_at_least("algo.read_steps", read_steps, 1)
        check_steps("algo.read_steps", read_steps)
        check_above("algo.scale", scale, 0)
        self.context = FullContext(backbone.features, read_steps) if full_context else None
        self.scale = scale
        self.normalise_query = normalise_query

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless` (equation 1): log-probabilities."""
        support, query = embed_together(self.backbone, support_x, query_x)
        if self.context is not None:
            support = self.context.embed_support(support)
            query = self.context.embed_query(query, support)
        similarity = cosines(query, support) if self.normalise_query else query @ F.normalize(support, dim=-1).mT
        return attended_classes(self.scale * similarity, support_y, way)


def attended_classes(similarity: Tensor, labels: Tensor, way: int) -> Tensor:
    """Return (queries, way) the logarithm of the attention to the examples of each class (equation 1).

    Args:
        similarity: (queries, examples).
        labels: (examples), each class at least once.
        way: classes.
    """
    attention = similarity.log_softmax(-1)  # (queries, examples)
    others = F.one_hot(labels, way).mT == 0  # (way, examples)
    return attention[:, None].masked_fill(others, -torch.inf).logsumexp(-1)


class FullContext(nn.Module):
    """Full context embeddings (appendix A): features that depend on the whole support set.

    The LSTMs are written out because torch.nn.LSTM does not work under vmap.

    Args:
        features: size of the features and of their embeddings.
        read_steps: how often a query reads the support set.
    """

    def __init__(self, features: int, read_steps: int) -> None:
        super().__init__()
        self.forwards = nn.LSTMCell(features, features)
        self.backwards = nn.LSTMCell(features, features)
        self.reader = nn.LSTMCell(2 * features, features)
        self.read_steps = read_steps

    def embed_support(self, support: Tensor) -> Tensor:
        """Return g (examples, features): each example plus the outputs of a bidirectional LSTM (A.2)."""
        ahead, back = _read_sequence(self.forwards, support), _read_sequence(self.backwards, support.flip(0)).flip(0)
        return support + ahead + back

    def embed_query(self, query: Tensor, support: Tensor) -> Tensor:
        """Return f (queries, features), after reading g = `support` by attention `read_steps` times (A.1, eq. 3 to 6).

        The reading is concatenated with the query; in the paper with the hidden state, which is equivalent, as it has
        weights of its own either way. The initial hidden state, which the paper does not specify, is the query.
        """
        hidden, memory = query, torch.zeros_like(query)
        for _ in range(self.read_steps):
            read = (hidden @ support.mT).softmax(-1) @ support  # (queries, features)
            hidden, memory = _lstm_step(self.reader, torch.cat([query, read], -1), hidden, memory)
            hidden = hidden + query
        return hidden


def _read_sequence(cell: nn.LSTMCell, inputs: Tensor) -> Tensor:
    hidden = memory = torch.zeros_like(inputs[:1])
    outputs = []
    for i in range(len(inputs)):
        hidden, memory = _lstm_step(cell, inputs[i : i + 1], hidden, memory)
        outputs.append(hidden)
    return torch.cat(outputs)


def _lstm_step(cell: nn.LSTMCell, x: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    gates = F.linear(x, cell.weight_ih, cell.bias_ih) + F.linear(hidden, cell.weight_hh, cell.bias_hh)
    enter, keep, new, leave = gates.tensor_split(4, -1)
    memory = keep.sigmoid() * memory + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * memory.tanh(), memory
