"""Fine-tuning: transfer learning that adapts every weight to a task."""

from collections.abc import Iterator
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn

from metarun.algorithms.adam import Adam
from metarun.algorithms.adapters import Adapt, chosen_weights, make_adapter
from metarun.algorithms.algorithm import Adapted, AdaptedBy, Algorithm
from metarun.algorithms.inner_loop import Parameters, outputs_with_weights
from metarun.algorithms.pretraining import pretraining_batch
from metarun.backbones import Backbone
from metarun.system.gradient import grad
from metarun.system.inputs import Inputs
from metarun.system.limits import check_above, check_one_of
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import check_label_smoothing, mean_loss, smoothed_loss


class FineTune(Algorithm):
    """Fine-tuning of all weights (Dhillon et al. 2020, https://arxiv.org/abs/1909.02729, section 3.1).

    The backbone is pre-trained to classify all meta-train classes. A task gets a new linear head, and gradient steps on
    its support set change the head and the whole backbone.

    Deviation: the new head is zero, not random, so nothing depends on chance or on the order of labels. The accuracy
    before adaptation is therefore chance. The paper's transductive second part is not implemented.

    With `adapt` other than "all", a task changes the new head and only a part of the backbone. An adapter ("film",
    "lora") is not pre-trained: it begins as the identity, or as a checkpoint of another method has it.

    Args:
        backbone: the network below the heads.
        train_classes: number of meta-train classes, set from the data.
        inner_lr: learning rate of the steps.
        optimizer: of the steps, "sgd" or "adam".
        label_smoothing: in pre-training, the probability that targets give to the other classes in equal parts.
        adapt: what a task changes besides the head: "all", "head", "norm", "film" or "lora"; see `LinearHeadMethod`.
        adapt_rank: of "lora".
        adapt_alpha: of "lora".
    """

    splittable: ClassVar[bool] = False  # pre-training sees one batch of examples
    optional_weights: ClassVar[tuple[str, ...]] = ("classifier.", "adapter.")

    def __init__(
        self,
        backbone: Backbone,
        train_classes: int,
        inner_lr: float = 0.001,
        optimizer: Literal["sgd", "adam"] = "adam",
        label_smoothing: float = 0.0,
        adapt: Adapt = "all",
        adapt_rank: int = 8,
        adapt_alpha: float = 8.0,
    ) -> None:
        super().__init__()
        check_label_smoothing(label_smoothing)
        check_one_of("algo.optimizer", optimizer, ("sgd", "adam"))
        check_above("algo.inner_lr", inner_lr, 0)
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.features, train_classes)  # not needed once the backbone is trained
        self.inner_lr = inner_lr
        self.optimizer = optimizer
        self.label_smoothing = label_smoothing
        self.adapted = adapt
        self.adapter = make_adapter(adapt, backbone, adapt_rank, adapt_alpha)
        if self.adapter is not None:
            self.adapter.requires_grad_(False)  # pre-training does not use it

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the batch's examples among all meta-train classes."""
        x, classes = pretraining_batch(tasks)
        return smoothed_loss(self.classifier(self.backbone(x)), classes, self.label_smoothing)

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        for weights in self._inner_loop(support.x, support.y, support.way, steps):
            yield AdaptedBy(
                partial(outputs_with_weights, self.backbone, weights, support_x=support.x, adapter=self.adapter)
            )

    def _inner_loop(self, support_x: Inputs, support_y: Tensor, way: int, steps: int) -> Iterator[Parameters]:
        """Yield one task's weights before adaptation and after each step."""

        def loss(weights: Parameters) -> Tensor:
            return mean_loss(outputs_with_weights(self.backbone, weights, support_x, adapter=self.adapter), support_y)

        of_backbone = self.backbone.named_parameters(prefix="backbone")
        trained = {name: weight for name, weight in of_backbone if weight.requires_grad}
        weights: Parameters = chosen_weights(self.adapted, self.adapter, self.backbone, trained)
        weights["head.weight"] = self.classifier.weight.new_zeros(way, self.backbone.features)
        weights["head.bias"] = self.classifier.weight.new_zeros(way)
        adam = Adam.of(weights)
        yield weights
        for _ in range(steps):
            change = gradient = grad(loss)(weights)
            if self.optimizer == "adam":
                adam, change = adam.step(gradient)
            weights = {name: weight - self.inner_lr * change[name] for name, weight in weights.items()}
            yield weights
