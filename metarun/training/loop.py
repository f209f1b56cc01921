"""Meta-training: the outer loop. Knows no algorithm, no data set, no screen."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.config.keys_in_force import knob
from metarun.errors import RunFailed, TrainingDiverged, UserError
from metarun.evaluation.evaluate import Evaluation, evaluate
from metarun.loggers.observer import Observer, TrainingProgress, Validation
from metarun.results.metrics import ACCURACY
from metarun.results.statistics import mean_and_ci95
from metarun.system.memory import ran_out
from metarun.tasks.batch import chunks
from metarun.tasks.rng import root_key
from metarun.tasks.stream import TaskStream
from metarun.tasks.vectorize import choices, restore_choices
from metarun.training.checkpoint import snapshot
from metarun.training.distributed import ALONE, Ranks
from metarun.training.schedule import Schedule, _knob

log = logging.getLogger(__name__)

CHECK_EVERY = 10  # steps between two looks at the loss: on a GPU each look waits for the device


@dataclass
class Progress:
    """Where a training stands; with the weights and the optimiser's state, all that is needed to go on."""

    iteration: int = 0
    seconds: float = 0.0
    validated_at: int = 0
    best_iteration: int = 0
    best_score: float = -math.inf
    best_value: float | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    at_once: int | None = None  # tasks that the memory holds at once; None: the whole meta-batch

    def __post_init__(self) -> None:
        counts = (self.iteration, self.validated_at, self.best_iteration, self.at_once or 1)
        figures = (self.seconds, self.best_score, self.best_value or 0.0)
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise ValueError("a training has come so many steps, from 0")
        if not all(isinstance(figure, float | int) for figure in figures) or not 0 <= self.seconds < math.inf:
            raise ValueError("a training has figures, and took a time")
        if not all(isinstance(row, dict) for row in self.curve):
            raise ValueError("a curve has rows of figures by name")


def _check_can_be_split(algorithm: Algorithm, schedule: Schedule, ranks: Ranks) -> None:
    if ranks.count > 1 and not algorithm.splittable:
        raise UserError(
            f"{type(algorithm).__name__} sees the examples of a meta-batch as one batch, which {ranks.count} processes "
            "cannot split",
            "start it without torchrun.",
        )
    if schedule.meta_batch < ranks.count:
        raise UserError(
            f"train.meta_batch={schedule.meta_batch} tasks cannot be split among {ranks.count} processes",
            "raise `train.meta_batch` or start fewer.",
        )


class Training:
    """One algorithm's way through its outer loop: Adam, or SGD, on the meta-loss, the best checkpoint by meta-val.

    Args:
        algorithm: what is meta-learned.
        schedule: how long and at what rate.
        train: stream of meta-training tasks; step i takes tasks i * meta_batch and following.
        val: stream of meta-val tasks, the first of which are looked at every time.
        seed: of what a network itself draws at random in training, such as DropBlock.
        ranks: the processes among which each meta-batch is split.

    Attributes:
        settled: held while the state changes; who holds it in another thread finds the state between two steps.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        schedule: Schedule,
        train: TaskStream,
        val: TaskStream,
        seed: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        _check_can_be_split(algorithm, schedule, ranks)
        self.algorithm = algorithm
        self.schedule = schedule
        self.train = train
        self.val = val
        self.seed = seed
        self.ranks = ranks
        self.progress = Progress()
        self.settled = threading.RLock()
        self.best: dict[str, Tensor] = {}  # the weights that meta-val liked most so far, on the CPU
        self._before: dict[str, Tensor] = {}  # what was learned before the work at hand, if some is
        # On the device, in float64: of the steps since the last look at meta-val.
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        learned = [weight for weight in algorithm.parameters() if weight.requires_grad] if algorithm.learns else []
        if algorithm.learns and not learned:
            log.warning(
                "all weights of %s are frozen (requires_grad=False): there is nothing to learn, and it is judged as it "
                "is",
                type(algorithm).__name__,
            )
        optimizer = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[schedule.outer_optimizer]
        # An optimiser refuses to be given nothing; frozen weights it would hold for nothing.
        self.optimizer = optimizer(learned or [torch.zeros(1)], lr=schedule.outer_lr)
        self._learns = bool(learned)

    @property
    def device(self) -> torch.device:
        """Where the algorithm lives."""
        return next((parameter.device for parameter in self.algorithm.parameters()), torch.device("cpu"))

    def state(self) -> dict[str, Any]:
        """Return everything that is needed to go on from here; amid a step or a look, from where it began."""
        return {
            "algorithm": self._before or self.algorithm.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "loss_sum": self._loss_sum,
            "best": self.best,
            "over_tasks": choices(),
        }

    def _begin(self) -> None:
        """Take hold of what was learned so far, for who asks amid the work, when other weights stand in the network.

        Running statistics are updated on the way; weights change only under `settled`.
        """
        buffers = dict(self.algorithm.named_buffers())
        learned = self.algorithm.state_dict()
        self._before = {name: value.clone() if name in buffers else value for name, value in learned.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            Exception: of many kinds, where it is anything else: this training is of no use then.
        """
        self.progress = Progress(**state["progress"])
        if self.progress.best_value is not None:
            self.algorithm.load_state_dict(state["best"])  # what does not fit is refused now, not in the end
        self.algorithm.load_state_dict(state["algorithm"])
        self._restore_optimizer(state["optimizer"])
        self._loss_sum = state["loss_sum"].to(self.device, torch.float64).reshape(())
        self.best = state["best"]
        restore_choices(state["over_tasks"])

    def _restore_optimizer(self, state: dict[str, Any]) -> None:
        """Take over what an optimiser knows of each weight; how it steps is what the config says."""
        settings = [
            {key: value for key, value in group.items() if key not in ("params", "lr")}  # the rate is set at every step
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state)
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(own)
        for weight, known in self.optimizer.state.items():
            if any(value.shape not in (weight.shape, ()) for value in known.values()):
                raise ValueError("its optimiser is another network's")

    @property
    def finished(self) -> bool:
        """Whether a limit is reached and the last look at meta-val was taken."""
        return self._over and self._looked

    @property
    def _over(self) -> bool:
        progress = self.progress
        return not self._learns or self.schedule.fraction_done(progress.iteration, progress.seconds) >= 1

    @property
    def _looked(self) -> bool:
        """Whether meta-val was looked at since the last step; before the first step too, if that is where it ends."""
        return bool(self.progress.curve) and self.progress.validated_at == self.progress.iteration

    def run(
        self,
        save: Callable[[], None],
        observers: Sequence[Observer],
        pause: Callable[[], None],
    ) -> None:
        """Meta-train until a limit is reached.

        Args:
            save: called when `state()` is worth keeping: after each look at meta-val, and on the schedule's beat.
            observers: told how it goes.
            pause: called after every step and between chunks of meta-val; raises when the user wants to stop.

        Raises:
            TrainingDiverged: the training loss is no longer a number.
            RunFailed: the memory does not hold the smallest part of a step.
        """
        started = time.perf_counter() - self.progress.seconds
        saved = time.perf_counter()
        beat = self.schedule.checkpoint_every or math.inf
        while not self.finished:
            if look := self._look_is_due:
                self._validate(observers, pause)
            else:
                self._step()
            self.progress.seconds = self.ranks.from_first(time.perf_counter() - started)
            if look or time.perf_counter() - saved >= beat:
                save()
                saved = time.perf_counter()
            if not look and self.progress.iteration % CHECK_EVERY == 0:
                self._tell(observers)
            pause()

    @property
    def _look_is_due(self) -> bool:
        """Whether meta-val comes before the next step: on the beat, and when training is over."""
        progress, schedule = self.progress, self.schedule
        on_the_beat = progress.iteration > 0 and progress.iteration % schedule.validate_every == 0
        return (on_the_beat or self._over) and not self._looked

    def _step(self) -> None:
        """Take one step of the outer loop."""
        self._begin()
        schedule, progress = self.schedule, self.progress
        fraction = schedule.fraction_done(progress.iteration, progress.seconds)
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.rate(progress.iteration, fraction)
        self.algorithm.train()
        self.algorithm.on_step(fraction)
        loss = self._meta_gradient()
        if schedule.clip_grad is not None:
            torch.nn.utils.clip_grad_value_(self.algorithm.parameters(), schedule.clip_grad)
        with self.settled:
            self.optimizer.step()
            progress.iteration += 1
            self._loss_sum += loss
            self._before = {}

    def _meta_gradient(self) -> Tensor:
        """Set the gradient of the meta-loss and return that loss; in as many parts as ranks and memory ask for.

        Raises:
            RunFailed: the memory does not even hold the smallest part.
        """
        progress, batch = self.progress, self.schedule.meta_batch
        start, share = self.ranks.share_of(batch)
        first = progress.iteration * batch + start
        while True:
            # So that a stopped training goes on to the same bits where a network draws random numbers.
            torch.manual_seed(root_key("step", self.seed, progress.iteration, *([start] if start else [])))
            self.optimizer.zero_grad()
            total = torch.zeros((), device=self.device)
            try:
                for done, count in chunks(share, progress.at_once or share):
                    loss = self.algorithm.meta_loss(self.train.draw(first + done, count)) * (count / batch)
                    loss.backward()  # type: ignore[no-untyped-call]
                    total = total + loss.detach()
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error):
                    raise
                self._take_fewer_at_once()
            else:
                with torch.no_grad():
                    gradients = [parameter.grad for parameter in self.algorithm.parameters()]
                    self.ranks.add_up([total, *(gradient for gradient in gradients if gradient is not None)])
                    self.ranks.one_after_the_other(self.algorithm, self._before)
                return total

    def _take_fewer_at_once(self) -> None:
        """Halve the parts of a meta-batch and go back to before the step."""
        progress = self.progress
        at_once = progress.at_once or self.schedule.meta_batch
        if at_once == 1 or not self.algorithm.splittable:
            what = "one task" if at_once == 1 else f"a batch of train.meta_batch={at_once} tasks"
            fewer = "" if at_once == 1 else f"{_knob('meta_batch')}, "
            sizes = self.train.shape.knob("way", "query", between=", ")
            raise RunFailed(
                f"{what} does not fit the memory; lower {fewer}{sizes} or `backbone.filters`, or choose a device "
                "with more."
            )
        progress.at_once = at_once // 2
        self.algorithm.load_state_dict(self._before)
        log.warning("out of memory: from here on %d tasks of a meta-batch at once, not %d", progress.at_once, at_once)

    def _mean_loss(self) -> float:
        """Return the mean loss of the steps since the last look at meta-val; waits for the device."""
        mean = float(self._loss_sum) / max(1, self.progress.iteration - self.progress.validated_at)
        if not math.isfinite(mean):
            step = self.progress.iteration
            raise TrainingDiverged(f"the meta-training loss became {mean} by step {step}; {self._remedy()}.", step)
        return mean

    def _remedy(self) -> str:
        """Say which keys make a training steadier, and their values; only those that this method has."""
        schedule, has_inner_rate = self.schedule, hasattr(self.algorithm, "inner_lr")
        rates = [knob("train.outer_lr", schedule.outer_lr), *(["`algo.inner_lr`"] if has_inner_rate else [])]
        clip = "or set `train.clip_grad=10`"
        if schedule.clip_grad is not None:
            clip = f"or {knob('train.clip_grad', schedule.clip_grad)}"
        return f"lower {' or '.join(rates)}, {clip}"

    def _tell(self, observers: Sequence[Observer]) -> None:
        progress = self.progress
        fraction = self.schedule.fraction_done(progress.iteration, progress.seconds)
        rate = self.optimizer.param_groups[0]["lr"]
        event = TrainingProgress(progress.iteration, fraction, self._mean_loss(), rate, progress.seconds)
        for observer in observers:
            observer.on_progress(event)

    def _validate(self, observers: Sequence[Observer], pause: Callable[[], None]) -> None:
        """Look at meta-val; stopped on the way, it leaves no trace and is taken again."""
        self._begin()
        progress, schedule = self.progress, self.schedule
        torch.manual_seed(root_key("look", self.seed, progress.iteration))  # a method of the user's own may draw
        loss = self._mean_loss()
        found = evaluate(self.algorithm, self.val, schedule.validate_tasks, schedule.validate_steps, lambda *_: pause())
        best = found.score > progress.best_score
        look = _look(progress.iteration, found, best)
        common = {"iteration": progress.iteration, "seconds": round(progress.seconds, 3)}
        of_train = [{**common, "split": "train", "loss": loss, "accuracy": None}] if progress.iteration > 0 else []
        of_val = {
            **common,
            "split": "val",
            "loss": look.loss,
            "accuracy": look.value if found.metric is ACCURACY else None,
            "median": look.median,
            "diverged": look.diverged,
        }
        with self.settled:
            progress.curve += [*of_train, of_val]
            progress.validated_at = progress.iteration
            self._loss_sum.zero_()
            self._before = {}
            if best:
                progress.best_score, progress.best_value = found.score, look.value
                progress.best_iteration = progress.iteration
                self.best = snapshot(self.algorithm.state_dict())
        for observer in observers:
            observer.on_validation(look)


def _look(iteration: int, found: Evaluation, best: bool) -> Validation:
    """Say what a look at meta-val found."""
    judged = len(found.headline) > 0
    return Validation(
        iteration=iteration,
        loss=found.loss_by_step[-1] if found.loss_by_step else None,
        value=float(found.headline.double().mean()) if judged else None,
        ci95=mean_and_ci95(found.headline.numpy())[1] if judged else None,
        best=best,
        candidate=math.isfinite(found.score),
        tasks=found.loss.shape[1],
        diverged=int(found.diverged.sum()),
        median=found.median,
    )
