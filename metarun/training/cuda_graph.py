"""CUDA graphs: the meta-gradient of tasks of one shape is recorded once, and replayed in every later step.

A step of MAML is thousands of small operations, which a GPU can finish sooner than Python starts them. A replay starts
all of them by one call. It repeats operations, not Python, so it is compared with a computation without it.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from metarun.algorithms import Algorithm, Method
from metarun.system.inputs import map_inputs
from metarun.tasks.batch import TaskBatch

log = logging.getLogger(__name__)

WARM_UP = 3  # steps before a recording, as PyTorch advises
MOST = 4  # recordings; each keeps the memory of a step
CHECK_EVERY = 1000  # replays from one comparison to the next
TOLERANCE = 1e-3  # relative to the norm; rounding is far below it, the gradient of other tasks far above

Step = Callable[[], list[Tensor]]


class Recorder(Protocol):
    """What records a step."""

    def record(self, step: Step) -> Step:
        """Return what repeats the operations of `step` on the same memory; it returns the same tensors each time.

        Raises:
            Exception: of any kind, if that is not possible.
        """


class CudaGraphs:
    """Records by `torch.cuda.graph`.

    Args:
        device: of the method.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def record(self, step: Step) -> Step:
        """See `Recorder`."""
        with torch.cuda.device(self.device):  # of the streams below
            return self._record(step)

    def _record(self, step: Step) -> Step:
        step()  # loads libraries, and measures whether to vectorise
        mode, stream = torch.cuda.get_sync_debug_mode(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        torch.cuda.set_sync_debug_mode("error")  # a step that waits for the GPU fails here, not half-way in a recording
        try:
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    step()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may save a checkpoint
            result = step()

        def replay() -> list[Tensor]:
            graph.replay()
            return result

        return replay


@dataclass
class _Recording:
    """The step of tasks of one shape, and the tasks that it reads."""

    step: Step
    tasks: TaskBatch
    replays: int = 0

    def replay(self, tasks: TaskBatch) -> list[Tensor]:
        for own, given in zip(_tensors(self.tasks), _tensors(tasks), strict=True):
            own.copy_(given)
        self.replays += 1
        return self.step()


class RecordedGradient:
    """Adds gradients of the meta-loss to the weights' `grad` by replaying recordings.

    A recording is made on other tasks than those of its first replay. The loss, the gradient and the buffers after that
    replay, and after each `CHECK_EVERY` later ones, must be those of a computation without it, which must draw no
    random number and put no new buffer in the place of an old one. If anything fails, the training continues without.

    Args:
        algorithm: the method, whose weights and buffers stay in the same memory.
        recorder: of its steps.
    """

    def __init__(self, algorithm: Algorithm, recorder: Recorder) -> None:
        self.algorithm = algorithm
        self._recorder = recorder
        self._learned = [weight for weight in algorithm.parameters() if weight.requires_grad]
        self._recordings: dict[tuple[object, ...], _Recording] = {}
        self._stopped = False
        if type(algorithm).on_step is not Method.on_step:
            self.stop(f"{type(algorithm).__name__} changes how it computes in the course of meta-training")

    def stop(self, reason: str) -> None:
        """Neither record nor replay from now on."""
        if not self._stopped:
            log.warning("train.cuda_graph=true but computing without CUDA graphs: %s", reason)
        self._stopped = True
        self._recordings.clear()

    def add(self, tasks: TaskBatch, share: float, others: Iterator[TaskBatch]) -> Tensor | None:
        """Add `share` of the gradient of the tasks' meta-loss.

        Args:
            tasks: a part of a meta-batch.
            share: the part's.
            others: begins with other tasks of this shape; taken only for a recording.

        Returns:
            `share` of the loss; None if nothing was added because there is no valid recording.
        """
        if self._stopped:
            return None
        shapes = tasks.way, *((tensor.shape, tensor.dtype) for tensor in _tensors(tasks))
        recording = self._recordings.get(shapes)
        if recording is not None and recording.replays % CHECK_EVERY:
            found = recording.replay(tasks)
        else:
            buffers = self._buffers()
            try:
                with torch.random.fork_rng(devices=[tasks.device] if tasks.device.type == "cuda" else []):
                    recording = recording or self._record(next(others))
                    self._restore(buffers)
                    found = self._checked(recording, tasks)
            except Exception as error:  # an error of the method itself recurs without a recording
                self._restore(buffers)
                self.stop(str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__)
                return None
            self._recordings[shapes] = recording
        loss, *gradients = torch._foreach_mul(found, share)  # copies, since the next replay overwrites what it returns
        for weight, gradient in zip(self._learned, gradients, strict=True):
            weight.grad = gradient if weight.grad is None else weight.grad + gradient
        return loss

    def _record(self, tasks: TaskBatch) -> _Recording:
        if len(self._recordings) == MOST:
            raise ValueError(f"tasks have more than {MOST} sizes")
        own = _copy(tasks)
        return _Recording(self._recorder.record(lambda: self._step(own)), own)

    def _step(self, tasks: TaskBatch) -> list[Tensor]:
        """Return the meta-loss and its gradient."""
        loss = self.algorithm.meta_loss(tasks)
        return [loss.detach(), *torch.autograd.grad(loss, self._learned, materialize_grads=True)]

    def _checked(self, recording: _Recording, tasks: TaskBatch) -> list[Tensor]:
        """Replay, and raise a ValueError if a computation without the recording gives another result."""
        buffers, random = self._buffers(), _random_states(tasks.device)
        same = [*self.algorithm.buffers()]
        expected, buffers_after = self._step(tasks), self._buffers()
        if not all(map(torch.equal, random, _random_states(tasks.device))):
            raise ValueError("a step draws random numbers")
        if any(one is not other for one, other in zip(same, self.algorithm.buffers(), strict=True)):
            raise ValueError("a step replaces its buffers instead of changing them")
        self._restore(buffers)
        found = recording.replay(tasks)
        parts = {"loss": (found[:1], expected[:1]), "gradient": (found[1:], expected[1:])}
        for name, pair in {**parts, "buffers": (self._buffers(), buffers_after)}.items():
            if (distance := _distance(*pair)) > TOLERANCE:
                earlier = "" if recording.replays == 1 else "; steps since the last comparison may be wrong too"
                where = f"in replay {recording.replays:,}, the {name}"
                raise ValueError(f"{where} is off by {distance:.1e} of the norm{earlier}")
        return found

    def _buffers(self) -> list[Tensor]:
        return [buffer.clone() for buffer in self.algorithm.buffers()]

    def _restore(self, buffers: list[Tensor]) -> None:
        for own, before in zip(self.algorithm.buffers(), buffers, strict=True):
            own.copy_(before)


def _tensors(tasks: TaskBatch) -> list[Tensor]:
    each = [[*part.values()] if isinstance(part, dict) else [part] for part in vars(tasks).values()]
    return [tensor for tensors in each for tensor in tensors if isinstance(tensor, Tensor)]


def _copy(tasks: TaskBatch) -> TaskBatch:
    """Return a copy in memory of its own, since labels may be one row that stands for those of all tasks."""

    def clone(tensor: Tensor) -> Tensor:
        return tensor.clone(memory_format=torch.contiguous_format)

    parts = {name: part for name, part in vars(tasks).items() if isinstance(part, Tensor | dict)}
    copies: dict[str, Any] = {name: map_inputs(clone, part) for name, part in parts.items()}
    return replace(tasks, **copies)


def _random_states(device: torch.device) -> list[Tensor]:
    """Return the states of the generators of the host and of a GPU."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _distance(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the distance of all numbers, relative to the norm; 0 if they are not finite, which ends a training."""
    if not expected:  # a method without buffers
        return 0.0
    ours, theirs = (torch.cat([tensor.flatten().double() for tensor in each]) for each in (found, expected))
    if not theirs.isfinite().all():
        return 0.0
    return float(((ours - theirs).norm() / theirs.norm().clamp(min=1e-30)).nan_to_num(nan=torch.inf))
