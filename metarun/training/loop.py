"""Meta-training: the outer loop, independent of the algorithm, the data set and the display."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from metarun.algorithms import Algorithm, Method, PolicyMethod
from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.backbones.fused import is_compiled, set_compiled, why_not_compiled
from metarun.config.key_origins import knob
from metarun.errors import TrainingDiverged, UserError
from metarun.loggers.observer import Observer, TrainingProgress
from metarun.rl.stream import EnvironmentStream
from metarun.tasks.rng import root_key
from metarun.tasks.stream import TaskStream
from metarun.tasks.vectorize import choices, restore_choices
from metarun.training.checkpoint import snapshot
from metarun.training.cuda_graph import RecordedGradient, Recorder
from metarun.training.distributed import SINGLE_PROCESS, Ranks
from metarun.training.meta_gradient import MetaGradient
from metarun.training.progress import Progress
from metarun.training.schedule import Schedule
from metarun.training.validation import curve_rows, evaluate_on_meta_val, summarise

log = logging.getLogger(__name__)

TELL_EVERY = 1.0  # seconds between two events, where steps are slow
CHECK_EVERY = 10  # steps between checks of the loss; on a GPU each check waits for the device


def _check_splittable(algorithm: Method, schedule: Schedule, ranks: Ranks) -> None:
    if ranks.world_size > 1 and not algorithm.splittable:
        raise UserError(
            f"{type(algorithm).__name__} processes a meta-batch as a whole, so it cannot be split among "
            f"{ranks.world_size} processes",
            "start it without torchrun.",
        )
    if ranks.world_size > 1 and algorithm.sequential:
        raise UserError(
            f"{type(algorithm).__name__} passes state from task to task, so a meta-batch cannot be split among "
            f"{ranks.world_size} processes",
            "start it without torchrun.",
        )
    if schedule.meta_batch < ranks.world_size:
        raise UserError(
            f"train.meta_batch={schedule.meta_batch} tasks cannot be split among {ranks.world_size} processes",
            "raise `train.meta_batch` or start fewer processes.",
        )


class Training:
    """The outer loop: Adam or SGD on the meta-loss, with the best checkpoint chosen on meta-val.

    Args:
        algorithm: to meta-train.
        schedule: how long and at what rate.
        train: stream of meta-training tasks; step i uses the tasks from i * meta_batch.
        val: stream of meta-val tasks; each validation uses its first tasks.
        seed: of random numbers that the network draws in training, such as DropBlock.
        ranks: the processes that share each meta-batch.
        recorder: of CUDA graphs; None: every step is computed anew.

    Attributes:
        state_lock: held while the state changes; a thread that holds it sees the state between two steps.
    """

    def __init__(
        self,
        algorithm: Method,
        schedule: Schedule,
        train: TaskStream | EnvironmentStream,
        val: TaskStream | EnvironmentStream,
        seed: int = 0,
        ranks: Ranks = SINGLE_PROCESS,
        recorder: Recorder | None = None,
    ) -> None:
        _check_splittable(algorithm, schedule, ranks)
        self.algorithm = algorithm
        self.schedule = schedule
        self.train = train
        self.val = val
        self.seed = seed
        self.ranks = ranks
        self.progress = Progress()
        self.state_lock = threading.RLock()
        self.best: dict[str, Tensor] = {}  # the best weights on meta-val so far, on the CPU
        self._before: dict[str, Tensor] = {}  # the state before the current step or validation, if there is one
        # Over the steps since the last validation, on the device in float64.
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        learned = [weight for weight in algorithm.parameters() if weight.requires_grad] if algorithm.learns else []
        if algorithm.learns and not learned:
            log.warning(
                "all weights of %s are frozen (requires_grad=False), so it is evaluated without training",
                type(algorithm).__name__,
            )
        self._meta_gradient: MetaGradient | None = None  # a policy method takes outer steps of its own
        if isinstance(algorithm, Algorithm):
            assert not isinstance(train, EnvironmentStream)
            recorded = None if recorder is None else RecordedGradient(algorithm, recorder)
            self._meta_gradient = MetaGradient(algorithm, train, schedule.meta_batch, seed, ranks, recorded)
        self.optimizer = OuterOptimizer(schedule.outer_optimizer, learned, schedule.outer_lr)
        self._learns = bool(learned)

    @property
    def device(self) -> torch.device:
        """The device of the algorithm."""
        return next((parameter.device for parameter in self.algorithm.parameters()), torch.device("cpu"))

    def state(self) -> dict[str, Any]:
        """Return everything needed to resume; during a step or validation, the state before it."""
        return {
            "algorithm": self._before or self.algorithm.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "loss_sum": self._loss_sum,
            "best": self.best,
            "over_tasks": choices(),
            "compiled": is_compiled(self.algorithm),
        }

    def _keep_learned(self) -> None:
        """Keep the learned state for `state`, which may be called in the middle of a step.

        Only buffers are copied: running statistics change during a step, but weights change only under `state_lock`.
        """
        buffers = dict(self.algorithm.named_buffers())
        learned = self.algorithm.state_dict()
        self._before = {name: value.clone() if name in buffers else value for name, value in learned.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a state that `state` returned.

        Raises:
            Exception: of any kind if the state is invalid; this object must not be used then.
        """
        self.progress = Progress(**state["progress"])
        if self.progress.best_value is not None:
            self.algorithm.load_state_dict(state["best"])  # fail now rather than at the end if it does not fit
        self.algorithm.load_state_dict(state["algorithm"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._loss_sum = state["loss_sum"].to(self.device, torch.float64).reshape(())
        self.best = state["best"]
        restore_choices(state["over_tasks"])
        self._restore_compiled(bool(state.get("compiled", False)))  # missing in runs of earlier versions

    def _restore_compiled(self, compiled: bool) -> None:
        """Compute blocks as before: compiled code and torch's operations round differently."""
        reason = why_not_compiled() if compiled else None
        if reason is not None:
            log.warning("this run started with compiled blocks, but numbers may now differ slightly: %s", reason)
        set_compiled(self.algorithm, compiled and reason is None)

    @property
    def finished(self) -> bool:
        """Whether a limit is reached and the last validation is done."""
        return self._done and self._validated

    @property
    def _done(self) -> bool:
        progress = self.progress
        return not self._learns or self.schedule.fraction_done(progress.iteration, progress.seconds) >= 1

    @property
    def _validated(self) -> bool:
        """Whether the model was validated after the last step, or before the first one if there are no steps."""
        return bool(self.progress.curve) and self.progress.validated_at == self.progress.iteration

    def run(self, save: Callable[[], None], observers: Sequence[Observer], check_interrupt: Callable[[], None]) -> None:
        """Meta-train until a limit is reached.

        Args:
            save: called when `state()` should be saved: after each validation and every `checkpoint_every` seconds.
            observers: receive the progress.
            check_interrupt: called after every step and between chunks of meta-val; raises when the user wants to stop.

        Raises:
            TrainingDiverged: the training loss is no longer finite.
            RunFailed: the smallest part of a step does not fit in memory.
        """
        started = time.perf_counter() - self.progress.seconds
        saved, told = time.perf_counter(), time.monotonic()
        interval = self.schedule.checkpoint_every or math.inf
        while not self.finished:
            if validating := self._validation_due:
                self._validate(observers, check_interrupt)
            else:
                self._step()
            self.progress.seconds = self.ranks.broadcast(time.perf_counter() - started)
            if validating or time.perf_counter() - saved >= interval:
                save()
                saved = time.perf_counter()
            if not validating and self.progress.iteration % CHECK_EVERY == 0:
                self._tell(observers, self._mean_loss())
                told = time.monotonic()
            elif (
                not validating and time.monotonic() - told >= TELL_EVERY and math.isfinite(loss := self._loss_so_far())
            ):
                self._tell(observers, loss, between=True)
                told = time.monotonic()
            check_interrupt()

    @property
    def _validation_due(self) -> bool:
        """Whether to validate before the next step: every `validate_every` steps and at the end."""
        progress, schedule = self.progress, self.schedule
        scheduled = progress.iteration > 0 and progress.iteration % schedule.validate_every == 0
        return (scheduled or self._done) and not self._validated

    def _step(self) -> None:
        """Take one step of the outer loop."""
        self._keep_learned()
        schedule, progress = self.schedule, self.progress
        fraction = schedule.fraction_done(progress.iteration, progress.seconds)
        self.optimizer.lr = schedule.rate(progress.iteration, fraction)
        self.algorithm.train()
        self.algorithm.on_step(fraction)
        if self._meta_gradient is None:
            self._take_own_step()
            return
        loss = self._meta_gradient.compute(progress, self._before)
        if schedule.clip_grad is not None:
            torch.nn.utils.clip_grad_value_(self.algorithm.parameters(), schedule.clip_grad)
        with self.state_lock:
            self.optimizer.step()
            progress.iteration += 1
            self._loss_sum += loss
            self._before = {}

    def _take_own_step(self) -> None:
        """Let a method that draws its own data take its step, during which weights change all the time."""
        assert isinstance(self.algorithm, PolicyMethod)
        assert isinstance(self.train, EnvironmentStream)
        progress, batch = self.progress, self.schedule.meta_batch
        torch.manual_seed(root_key("step", self.seed, progress.iteration))
        started = time.perf_counter()
        with self.state_lock:
            tasks = self.train.draw(progress.iteration * batch, batch)
            loss = self.algorithm.outer_step(tasks, self.optimizer)
            progress.iteration += 1
            progress.step_seconds += time.perf_counter() - started
            progress.rollout_seconds += tasks.meter.seconds
            self._loss_sum += loss
            self._before = {}

    def _mean_loss(self) -> float:
        """Return the mean loss of the steps since the last validation; waits for the device."""
        mean = self._loss_so_far()
        if not math.isfinite(mean):
            step = self.progress.iteration
            raise TrainingDiverged(f"the meta-training loss became {mean} by step {step}; {self._remedy()}.", step)
        return mean

    def _loss_so_far(self) -> float:
        """Return the mean loss of the steps since the last validation, finite or not; waits for the device."""
        return float(self._loss_sum) / max(1, self.progress.iteration - self.progress.validated_at)

    def _remedy(self) -> str:
        """Return which keys to change for a more stable training, with their values."""
        schedule, has_inner_rate = self.schedule, hasattr(self.algorithm, "inner_lr")
        rates = [knob("train.outer_lr", schedule.outer_lr), *(["`algo.inner_lr`"] if has_inner_rate else [])]
        if isinstance(self.algorithm, PolicyMethod):  # its outer steps are not clipped
            return f"lower {' or '.join(rates)}"
        clip = "or set `train.clip_grad=10`"
        if schedule.clip_grad is not None:
            clip = f"or {knob('train.clip_grad', schedule.clip_grad)}"
        return f"lower {' or '.join(rates)}, {clip}"

    def _tell(self, observers: Sequence[Observer], loss: float, between: bool = False) -> None:
        progress = self.progress
        fraction = self.schedule.fraction_done(progress.iteration, progress.seconds)
        rate = self.optimizer.lr
        event = TrainingProgress(
            progress.iteration, fraction, loss, rate, progress.seconds, self.schedule.iterations, between
        )
        for observer in observers:
            observer.on_progress(event)

    def _validate(self, observers: Sequence[Observer], check_interrupt: Callable[[], None]) -> None:
        """Evaluate on meta-val; if interrupted, nothing changes and it is repeated."""
        self._keep_learned()
        progress = self.progress
        torch.manual_seed(root_key("look", self.seed, progress.iteration))  # a user's method may draw random numbers
        loss = self._mean_loss()
        found = evaluate_on_meta_val(self.algorithm, self.val, self.schedule, check_interrupt)
        validation = summarise(found, progress)
        with self.state_lock:
            progress.curve += curve_rows(validation, found, loss, progress.seconds)
            progress.validated_at = progress.iteration
            self._loss_sum.zero_()
            self._before = {}
            if validation.best:
                progress.best_score, progress.best_value = found.score, validation.value
                progress.best_iteration = progress.iteration
                self.best = snapshot(self.algorithm.state_dict())
        for observer in observers:
            observer.on_validation(validation)
