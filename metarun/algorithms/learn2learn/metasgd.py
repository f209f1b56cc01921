"""Meta-SGD by learn2learn."""

from typing import Literal

from torch import nn

from metarun.algorithms.inner_loop import network_weights
from metarun.algorithms.learn2learn.importing import import_learn2learn
from metarun.algorithms.learn2learn.learner import Learn2LearnMethod, Learner, check_adaptable
from metarun.algorithms.metasgd import random_rates
from metarun.backbones import Backbone


class Learn2LearnMetaSGD(Learn2LearnMethod):
    """Meta-SGD (Li, Zhou, Chen, Li 2017, https://arxiv.org/abs/1707.09835) by `learn2learn.algorithms.MetaSGD`.

    Its learned rates, one per weight (`lrs`), have the names and the initialisation of those of `MetaSGD`, so each
    method can test a checkpoint of the other. Equal limits give learn2learn's initialisation, one number for all.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr_min: lower limit of the initial rates, which are uniformly random.
        inner_lr_max: upper limit of the initial rates.
        inner_steps: gradient steps per task in meta-training; 1 in the paper.
        order: of the meta-gradient, 1 (learn2learn's `first_order`) or 2; the rates are learned either way.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr_min: float = 0.005,
        inner_lr_max: float = 0.1,
        inner_steps: int = 1,
        order: Literal[1, 2] = 2,
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order)
        check_adaptable(backbone)
        self.inner_lr = random_rates(network_weights(self).values(), inner_lr_min, inner_lr_max)

    def learner(self, first_order: bool) -> Learner:
        """See `Learn2LearnMethod.learner`."""
        network = nn.Sequential(self.backbone, self.head)
        return import_learn2learn().algorithms.MetaSGD(network, lrs=self.inner_lr, first_order=first_order)
