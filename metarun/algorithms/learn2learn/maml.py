"""MAML by learn2learn."""

from typing import Literal

from torch import nn

from metarun.algorithms.learn2learn.importing import import_learn2learn
from metarun.algorithms.learn2learn.learner import Learn2LearnMethod, Learner
from metarun.backbones import Backbone


class Learn2LearnMAML(Learn2LearnMethod):
    """MAML (Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400) by `learn2learn.algorithms.MAML`.

    The same method as `MAML` in the code of Arnold et al. 2020 (https://arxiv.org/abs/2008.12284), to compare numbers.
    The weights have the same names, so each method can test a checkpoint of the other.

    The arguments are those of `MAML`; order 1 is learn2learn's `first_order`.
    """

    def __init__(
        self, backbone: Backbone, outputs: int, inner_lr: float, inner_steps: int, order: Literal[1, 2] = 2
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order)
        self.inner_lr = inner_lr

    def learner(self, first_order: bool) -> Learner:
        """See `Learn2LearnMethod.learner`."""
        network = nn.Sequential(self.backbone, self.head)
        # Weights that are frozen or unused do not change.
        unchanged = {"allow_nograd": True, "allow_unused": True}
        return import_learn2learn().algorithms.MAML(network, lr=self.inner_lr, first_order=first_order, **unchanged)
