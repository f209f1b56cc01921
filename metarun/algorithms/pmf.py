"""P > M > F: a pre-trained network, meta-trained as a prototypical network and fine-tuned on each support set."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from metarun.algorithms.adam import Adam
from metarun.algorithms.adapters import chosen_weights, make_adapter
from metarun.algorithms.algorithm import Adapted, AdaptedBy, Algorithm
from metarun.algorithms.inner_loop import Parameters, embedding_with_weights, mean_over_tasks
from metarun.algorithms.protonet import cosines, prototypes
from metarun.backbones import Backbone, embed_together
from metarun.errors import UserError
from metarun.system.gradient import grad
from metarun.system.inputs import Inputs, map_inputs
from metarun.system.limits import check_above, check_at_least, check_one_of
from metarun.tasks.augmentation.stream import Augmentation
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import correct, mean_loss
from metarun.tasks.rng import root_key, split_key
from metarun.tasks.stream import TaskStream
from metarun.tasks.varying_stream import batches_of

log = logging.getLogger(__name__)


class PMF(Algorithm):
    """P > M > F (Hu, Li, Stühmer, Kim, Hospedales 2022, https://arxiv.org/abs/2204.07305).

    Pre-training: the backbone, such as `backbone=minilm`. Meta-training: a prototypical network with cosines.
    Fine-tuning: on each task, Adam minimises the same loss with changed copies of the support set as queries (section
    3.3). Its learning rate is chosen on meta-val tasks, 0 being no fine-tuning.

    Deviations: the copies of a task are changed by random numbers of the step and the place in the support set, so that
    a prediction depends on nothing else. The rate is chosen again at each validation, so that the checkpoint is chosen
    after fine-tuning too. With `adapt` other than "all", meta-training changes all trained weights and the adapter, and
    fine-tuning only a part of them. The authors' code also learns a bias of all logits, which changes no probability.

    Args:
        backbone: maps examples to features.
        rates: of fine-tuning, to choose from.
        rate_tasks: meta-val tasks to choose on.
        scale: of the cosines at first; it is meta-learned.
        augment: makes queries of support examples; None: they are their own queries.
        adapt: what fine-tuning changes: "all" trained weights, those of normalisation ("norm"), or an adapter ("film",
            "lora"), which is meta-trained too; see `LinearHeadMethod`.
        adapt_rank: of "lora".
        adapt_alpha: of "lora".

    Raises:
        UserError: fine-tuning has nothing to change.
    """

    optional_weights: ClassVar[tuple[str, ...]] = ("scale", "rate", "adapter.")

    def __init__(
        self,
        backbone: Backbone,
        rates: Sequence[float] = (0.0, 0.0001, 0.001, 0.01),
        rate_tasks: int = 20,
        scale: float = 10.0,
        augment: Mapping[str, Augmentation] | None = None,
        adapt: Literal["all", "norm", "film", "lora"] = "all",
        adapt_rank: int = 8,
        adapt_alpha: float = 8.0,
    ) -> None:
        super().__init__()
        if not rates or min(rates) < 0:
            raise UserError(
                f"algo.rates={list(rates)} but it must name rates of at least 0", "set `algo.rates=[0,0.001]`."
            )
        check_at_least("algo.rate_tasks", rate_tasks, 1)
        check_above("algo.scale", scale, 0)
        check_one_of("algo.adapt", adapt, ("all", "norm", "film", "lora"))
        self.backbone = backbone
        self.rates, self.rate_tasks = sorted(rates), rate_tasks
        self.changes = [(root_key("pmf", name), change) for name, change in (augment or {}).items()]
        self.adapted = adapt
        self.adapter = make_adapter(adapt, backbone, adapt_rank, adapt_alpha)
        if not self._tuned() and self.rates[-1] > 0:
            raise UserError(
                f"algo.rates={list(rates)} but this backbone has no trained weights that fine-tuning could change",
                "set `backbone.head=residual_mlp` or `backbone.train=adapters algo.adapt=lora`, or `algo.rates=[0]`.",
            )
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        # Chosen, not learned; no buffer, since tasks are taken one by one where there are running statistics.
        self.rate = nn.Parameter(torch.tensor(float(self.rates[0])), requires_grad=False)

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the queries of a prototypical network."""

        def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
            weights = {**self._tuned(), **dict(self.named_buffers())}
            return mean_loss(self._logits(weights, support_x, support_y, tasks.way, query_x), query_y)

        return mean_over_tasks(self, query_loss, tasks)

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        rate = float(self.rate)
        tuned = self._fine_tune(support, steps, rate) if rate else repeat(self._tuned(), steps + 1)
        for weights in tuned:
            yield AdaptedBy(partial(self._logits, weights, support.x, support.y, support.way))

    def _fine_tune(self, support: Support, steps: int, rate: float) -> Iterator[Parameters]:
        """Yield one task's weights before fine-tuning and after each step."""

        def loss(weights: Parameters, pseudo_queries: Inputs) -> Tensor:
            return mean_loss(self._logits(weights, support.x, support.y, support.way, pseudo_queries), support.y)

        weights = self._tuned()
        adam = Adam.of(weights)
        yield weights
        for step in range(steps):
            adam, change = adam.step(grad(loss)(weights, self._changed(support.x, step)))
            weights = {name: weight - rate * change[name] for name, weight in weights.items()}
            yield weights

    def _changed(self, x: Inputs, step: int) -> Inputs:
        """Return changed copies of examples (n, *shape)."""

        def changed(x: Tensor) -> Tensor:
            for key, change in self.changes:
                x = change(x, split_key(split_key(key, step), torch.arange(len(x), device=x.device)))
            return x

        return map_inputs(changed, x)

    def _logits(self, weights: Parameters, support_x: Inputs, support_y: Tensor, way: int, query_x: Inputs) -> Tensor:
        """Return (m, way) logits of m queries: scaled cosines with the prototypes, under other weights."""
        embed = embedding_with_weights(self.backbone, weights, self.adapter)
        support, query = embed_together(embed, support_x, query_x)
        return self.scale * cosines(query, prototypes(support, support_y, way))

    def _tuned(self) -> Parameters:
        """Return the weights that fine-tuning changes, as they are meta-learned."""
        of_backbone = self.backbone.named_parameters(prefix="backbone")
        trained = {name: weight for name, weight in of_backbone if weight.requires_grad}
        return chosen_weights(self.adapted, self.adapter, self.backbone, trained)

    @torch.no_grad()
    def choose(self, stream: TaskStream, steps: int) -> None:
        """Choose the rate of the highest accuracy on meta-val tasks, the lower one of two equal ones."""
        if len(self.rates) == 1 or steps == 0:
            self.rate.fill_(self.rates[0])
            return
        self.eval()
        found = {}
        for rate in self.rates:
            self.rate.fill_(rate)
            right = [
                correct(self.predict(tasks, steps, every_step=False)[-1], tasks.query_y).double().mean(-1)
                for tasks in batches_of(stream, 0, self.rate_tasks)
            ]
            found[rate] = float(torch.cat(right).mean())
        best = max(found, key=lambda rate: (found[rate], -rate))
        self.rate.fill_(best)
        every = ", ".join(f"{rate:g}: {accuracy:.1%}" for rate, accuracy in found.items())
        chosen = "fine-tuning with learning rate %g, chosen by accuracy on %d meta-val tasks (%s)"
        log.info(chosen, best, self.rate_tasks, every)
