"""How far meta-training has come."""

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """The progress of a training; with the weights and the optimiser state, all that is needed to resume."""

    iteration: int = 0
    seconds: float = 0.0
    validated_at: int = 0
    best_iteration: int = 0
    best_score: float = -math.inf
    best_value: float | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    at_once: int | None = None  # tasks that fit in memory at once; None: the whole meta-batch
    step_seconds: float = 0.0  # of steps that a method takes itself, and of the roll-outs in them
    rollout_seconds: float = 0.0

    def __post_init__(self) -> None:
        counts = (self.iteration, self.validated_at, self.best_iteration, self.at_once or 1)
        numbers = (self.seconds, self.best_score, self.best_value or 0.0)
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise ValueError("its step counts are not integers from 0")
        if not all(isinstance(number, float | int) for number in numbers) or not 0 <= self.seconds < math.inf:
            raise ValueError("its scores or seconds are not numbers")
        if not all(isinstance(row, dict) for row in self.curve):
            raise ValueError("its curve has invalid rows")
