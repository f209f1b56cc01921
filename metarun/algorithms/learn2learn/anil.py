"""ANIL by learn2learn."""

from typing import Any

from metarun.algorithms.learn2learn.importing import import_learn2learn
from metarun.algorithms.learn2learn.learner import Learner
from metarun.algorithms.learn2learn.maml import Learn2LearnMAML


class Learn2LearnANIL(Learn2LearnMAML):
    """ANIL (Raghu, Raghu, Bengio, Vinyals 2020, https://arxiv.org/abs/1909.09157) as in learn2learn's examples.

    `learn2learn.algorithms.MAML` wraps only the head; no task changes the features. learn2learn's examples pass support
    and query through the backbone together. Here they are passed separately, as in `ANIL`, which matters only for a
    norm with batch statistics.

    The arguments are those of `ANIL`; order 1 is learn2learn's `first_order`.
    """

    def embed(self, x: Any) -> Any:
        """Return the features of the examples."""
        return self.backbone(x)

    def learner(self, first_order: bool) -> Learner:
        """See `Learn2LearnMethod.learner`; it adapts only the head."""
        return import_learn2learn().algorithms.MAML(self.head, lr=self.inner_lr, first_order=first_order)
