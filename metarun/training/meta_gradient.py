"""The gradient of the meta-loss, in as many parts as processes and memory require."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.errors import RunFailed, UserError
from metarun.system.memory import is_out_of_memory
from metarun.tasks.augmentation import AugmentedStream
from metarun.tasks.batch import TaskBatch, chunks
from metarun.tasks.rng import root_key
from metarun.tasks.stream import TaskStream
from metarun.tasks.varying_stream import VaryingTaskStream, batches_of, size_texts
from metarun.training.cuda_graph import RecordedGradient
from metarun.training.distributed import Ranks
from metarun.training.progress import Progress
from metarun.training.schedule import knob_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MetaGradient:
    """The gradient of the meta-loss of a method over meta-batches.

    Args:
        algorithm: the method; its weights get the gradient.
        stream: of meta-training tasks; step i uses the tasks from i * batch.
        batch: tasks of a meta-batch.
        seed: of random numbers that the network draws.
        ranks: the processes that share each meta-batch.
        recorded: replays gradients where it can; None: every step is computed anew.

    Raises:
        UserError: tasks have several sizes, and the method takes a meta-batch as a whole.
    """

    algorithm: Algorithm
    stream: TaskStream
    batch: int
    seed: int
    ranks: Ranks
    recorded: RecordedGradient | None = None

    def __post_init__(self) -> None:
        plain = self.stream.stream if isinstance(self.stream, AugmentedStream) else self.stream
        if not isinstance(plain, VaryingTaskStream):
            return
        if not self.algorithm.splittable:
            sizes = zip(("train.way", "train.shot"), size_texts(plain), strict=True)
            raise UserError(
                f"{' and '.join(f'{key}={size}' for key, size in sizes)} but {type(self.algorithm).__name__} processes "
                "a meta-batch as a whole, of tasks of one size",
                "give numbers, not ranges.",
            )
        if self.algorithm.how == "auto":
            self.algorithm.how = "loop"  # which way is faster would be measured for each of a hundred shapes
        if self.recorded is not None:
            self.recorded.stop("tasks have several sizes")

    def compute(self, progress: Progress, before: dict[str, Tensor]) -> Tensor:
        """Compute the gradient of the next step and return the loss.

        Args:
            progress: of the training; `at_once` is lowered when memory runs out.
            before: the state of the method before the step.

        Raises:
            RunFailed: the smallest part does not fit in memory.
        """
        start, share = self.ranks.share_of(self.batch)
        first = progress.iteration * self.batch + start
        while True:
            # So that a resumed training is bitwise identical if the network draws random numbers.
            torch.manual_seed(root_key("step", self.seed, progress.iteration, *([start] if start else [])))
            self.algorithm.zero_grad()
            total = torch.zeros(())
            try:
                for done, count in chunks(share, progress.at_once or share):
                    for tasks in self._batches(first + done, count):
                        total = total + self._add_gradient(tasks, first + done, count)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve_at_once(progress)
                self.algorithm.load_state_dict(before)
            else:
                return self._over_ranks(total, before)

    def _add_gradient(self, tasks: TaskBatch, first: int, count: int) -> Tensor:
        """Add the gradient of the share that some tasks have in the meta-loss, and return that share of it.

        Of tasks of one size, these are `first` to `first + count - 1`.
        """
        share = len(tasks) / self.batch
        if self.recorded is not None:
            of_next_step = self._batches(first + self.batch, count)
            if (replayed := self.recorded.add(tasks, share, of_next_step)) is not None:
                return replayed
        loss = self.algorithm.meta_loss(tasks) * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _batches(self, first: int, count: int) -> Iterator[TaskBatch]:
        if isinstance(self.stream, AugmentedStream):
            return self.stream.batches(first, count)
        return batches_of(self.stream, first, count)

    @torch.no_grad()
    def _over_ranks(self, loss: Tensor, before: dict[str, Tensor]) -> Tensor:
        gradients = [weight.grad for weight in self.algorithm.parameters() if weight.grad is not None]
        self.ranks.all_sum([loss, *gradients])
        self.ranks.merge_running_statistics(self.algorithm, before)
        return loss

    def _halve_at_once(self, progress: Progress) -> None:
        at_once = progress.at_once or self.batch
        if at_once == 1 or not self.algorithm.splittable:
            what = "one task" if at_once == 1 else f"a batch of train.meta_batch={at_once} tasks"
            fewer = "" if at_once == 1 else f"{knob_of('meta_batch')}, "
            sizes = self.stream.shape.knob("way", "query", between=", ")
            raise RunFailed(
                f"{what} does not fit in memory; lower {fewer}{sizes} or `backbone.filters`, or use a device with more "
                "memory."
            )
        progress.at_once = at_once // 2
        log.warning("out of memory: training on %d tasks at once from now on, not %d", progress.at_once, at_once)
