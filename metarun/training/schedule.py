"""The schedule of meta-training: duration and learning rate."""

import math
from dataclasses import dataclass
from typing import Literal

from metarun.config.key_origins import set_by, source_key
from metarun.errors import UserError

MAX_TASKS = 10_000_000  # in one evaluation; more would take days and gigabytes without telling more


@dataclass(frozen=True)
class Schedule:
    """Duration and learning rate of meta-training; the keys of `train` in the config.

    Raises:
        UserError: a value is out of range, or the training would never stop.
    """

    iterations: int | None
    time_budget: float | None  # seconds
    meta_batch: int
    outer_lr: float
    lr_decay: float
    lr_decay_every: int
    clip_grad: float | None
    validate_every: int
    validate_tasks: int
    validate_steps: int
    outer_optimizer: Literal["adam", "sgd"] = "adam"
    lr_schedule: Literal["step", "linear", "cosine"] = "step"
    outer_lr_end: float = 0.0
    checkpoint_every: float | None = None  # seconds; None: only after each validation

    def __post_init__(self) -> None:
        if self.iterations is None and self.time_budget is None:
            raise UserError(
                f"train.iterations{set_by('train.iterations')} and train.time_budget{set_by('train.time_budget')} are "
                "both null",
                "set one of them, such as train.time_budget=10m.",
            )
        positive = self.clip_grad is None or self.clip_grad > 0
        self._check("clip_grad", positive, "it must be above 0, or null for no clipping.")
        counts = self.iterations is None or self.iterations >= 0
        self._check("iterations", counts, "it cannot be negative", "0 evaluates the untrained model.")
        for name in ("meta_batch", "validate_every", "validate_tasks", "lr_decay_every"):
            self._check(name, getattr(self, name) >= 1, "it must be at least 1", f"raise {knob_of(name)}.")
        self._check("outer_lr", self.outer_lr > 0, "it must be above 0", f"raise {knob_of('outer_lr')}.")
        self._check(
            "outer_lr_end", self.outer_lr_end >= 0, "it cannot be negative", f"raise {knob_of('outer_lr_end')}."
        )
        remedy = "1 keeps the rate constant."
        self._check("lr_decay", 0 < self.lr_decay <= 1, "it must be above 0 and at most 1", remedy)
        if self.validate_tasks > MAX_TASKS:
            raise UserError(
                f"{_setting('validate_tasks', f'{self.validate_tasks:,}')} but at most {MAX_TASKS:,} are possible",
                f"lower {knob_of('validate_tasks')}.",
            )
        for name, options in (("outer_optimizer", ("adam", "sgd")), ("lr_schedule", ("step", "linear", "cosine"))):
            if getattr(self, name) not in options:
                raise UserError(f"{_setting(name, repr(getattr(self, name)))} is not one of {', '.join(options)}.")

    def _check(self, name: str, valid: bool, limit: str, remedy: str = "") -> None:
        if not valid:
            raise UserError(f"{_setting(name, getattr(self, name))} but {limit}", remedy)

    def fraction_done(self, iteration: int, seconds: float) -> float:
        """Return the fraction of the training that is done, from 0 to 1, by the nearer limit."""
        if self.iterations == 0:
            return 1.0
        by_steps = iteration / self.iterations if self.iterations else 0.0
        by_time = seconds / self.time_budget if self.time_budget else 0.0
        return min(1.0, max(by_steps, by_time))

    def rate(self, iteration: int, fraction: float) -> float:
        """Return the outer learning rate of the step after `iteration` steps, at `fraction` of the training."""
        if self.lr_schedule == "step":
            return self.outer_lr * self.lr_decay ** (iteration // self.lr_decay_every)
        left = 1 - fraction if self.lr_schedule == "linear" else (1 + math.cos(math.pi * fraction)) / 2
        return self.outer_lr_end + (self.outer_lr - self.outer_lr_end) * left


def _setting(name: str, value: object) -> str:
    return f"train.{name}={value}{set_by(f'train.{name}')}"


def knob_of(name: str) -> str:
    """Return the key that sets an argument of `Schedule`."""
    return f"`{source_key(f'train.{name}')}`"
