"""A method adapted to your own examples, which predicts new ones."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.special
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarun.algorithms import Adapted, Algorithm
from metarun.errors import UserError
from metarun.results.metrics import MSE, metric_of
from metarun.system.atomic_write import write_bytes
from metarun.tasks.batch import Support

if TYPE_CHECKING:
    from metarun.api.run import Run

FORMAT = 1  # of the file; increase it with every incompatible change
BATCH = 256  # queries per pass, for methods that are not transductive
Array = NDArray[Any]


@dataclass(frozen=True)
class LeaveOneOut:
    """Leave-one-out predictions of a support set.

    Args:
        examples: number of examples predicted from the others.
        accuracy: of these predictions, in [0, 1].
        lowest_score: the lowest of their largest logits.
    """

    examples: int
    accuracy: float
    lowest_score: float


class Learner:
    """A run adapted to one support set.

    Attributes:
        classes: the labels in the order of the columns of `predict`; empty in regression.
    """

    def __init__(self, run: "Run", support_x: Array, support_y: Array, classes: tuple[Any, ...], steps: int) -> None:
        self.run = run
        self.classes = classes
        self._support_x, self._support_y, self._steps = support_x, support_y, steps
        self._adapted: Adapted | None = None
        self._check: LeaveOneOut | None = None

    @classmethod
    def adapted(cls, run: "Run", support_x: Array, labels: Sequence[Any], steps: int) -> Self:
        """Return a learner; see `Run.adapt`."""
        _check_shape(run, support_x)
        if len(labels) != len(support_x):
            raise UserError(
                f"there are {len(support_x)} support examples but {len(labels)} labels", "pass one label per example."
            )
        if metric_of(run.result) is MSE:
            targets = np.asarray(labels, np.float32)
            return cls(run, support_x, targets[:, None] if targets.ndim == 1 else targets, (), steps)
        classes = tuple(sorted(set(labels), key=lambda label: (str(type(label)), label)))
        _check_classes(run, [labels.count(label) for label in classes])
        index = {label: i for i, label in enumerate(classes)}
        y = np.array([index[label] for label in labels], np.int64)
        order = np.argsort(y, kind="stable")  # sorted by class, as methods expect
        learner = cls(run, support_x[order], y[order], classes, steps)
        learner._adapt()
        return learner

    def predict(self, x: Any) -> NDArray[np.float64]:
        """Predict new examples.

        Args:
            x: (n, *shape), like the support set of `Run.adapt`.

        Returns:
            (n, classes) probabilities, in the order of `classes`; (n, outputs) numbers in regression.
        """
        logits = self._logits(x)
        if not self.classes:
            return logits
        return _probabilities(logits)

    def _logits(self, x: Any) -> NDArray[np.float64]:
        queries = np.asarray(x)
        if not len(queries):
            return np.empty((0, max(1, len(self.classes))))
        _check_shape(self.run, queries)
        adapted = self._adapt()
        # The predictions of a transductive method depend on all queries, so all are in one batch.
        size = max(1, len(queries)) if self.run.result["transductive"] else BATCH
        with torch.no_grad():
            batches = [adapted.predict(self._as_inputs(queries[i : i + size])) for i in range(0, len(queries), size)]
        predictions: NDArray[np.float64] = torch.cat(batches).double().cpu().numpy()
        return predictions

    def leave_one_out(self) -> "LeaveOneOut | None":
        """Predict each support example from the others; None if every class has one example.

        The only example of a class is not predicted.
        """
        if self._check is not None or not self.classes:
            return self._check
        sizes = np.bincount(self._support_y)
        predicted = np.flatnonzero(sizes[self._support_y] > 1)
        if self.run.algorithm.needs_equal_shots or not len(predicted):
            return None
        right, scores = 0, []
        for i in predicted:
            rest = np.arange(len(self._support_y)) != i
            others = type(self)(self.run, self._support_x[rest], self._support_y[rest], self.classes, self._steps)
            logits = others._logits(self._support_x[[i]])[0]
            right += int(logits.argmax() == self._support_y[i])
            scores.append(float(logits.max()))
        self._check = LeaveOneOut(len(predicted), right / len(predicted), min(scores))
        return self._check

    def predict_known(self, x: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the probabilities of `predict`, and (n,) whether an example is unknown.

        Unknown is what scores below every support example in `leave_one_out`: its largest logit is lower. If
        `leave_one_out` returns None, no example is unknown.
        """
        logits, check = self._logits(x), self.leave_one_out()
        unknown = np.zeros(len(logits), np.bool_) if check is None else logits.max(1) < check.lowest_score
        return _probabilities(logits), unknown

    def classify(self, x: Any) -> list[Any]:
        """Return the most probable class of each example."""
        if not self.classes:
            raise UserError("a regression run has no classes", "call `predict`.")
        return [self.classes[i] for i in self.predict(x).argmax(1)]

    def save(self, path: str | Path) -> None:
        """Save the learner: its support set and the path of its run, whose directory contains the network.

        Raises:
            UserError: the file cannot be written, or a label is neither a string nor a number.
        """
        metadata = {
            "format": FORMAT,
            "run": str(self.run.path.resolve()),
            "id": self.run.id,
            "steps": self._steps,
            "classes": self.classes,
        }
        try:
            text = json.dumps(metadata)
        except TypeError as error:
            raise UserError(f"this learner cannot be saved ({error})", "use strings or numbers as labels.") from None
        content = BytesIO()
        np.savez_compressed(content, about=np.array(text), support_x=self._support_x, support_y=self._support_y)
        write_bytes(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: str | Path, run: "Run | None" = None) -> Self:
        """Load a learner that `save` wrote.

        Args:
            path: of the file. Nothing in it is executed.
            run: that it was adapted from; None: the run at the path in the file.

        Raises:
            UserError: the file is not a learner, or has another version or run.
        """
        from metarun.api.run import Run

        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                metadata = json.loads(str(arrays["about"]))
                support_x, support_y = arrays["support_x"], arrays["support_y"]
            if metadata["format"] != FORMAT:
                raise ValueError(f"it has format {metadata['format']}, this metarun reads {FORMAT}")
            run_path, run_id, steps = metadata["run"], metadata["id"], int(metadata["steps"])
            classes = tuple(metadata["classes"])
        except Exception as error:  # numpy and zipfile raise many types for other files
            raise UserError(f"{path} is not a valid learner ({error})", "save it again.") from error
        run = run or Run(run_path)
        if run.id != run_id:
            raise UserError(f"{path} was adapted from run {run_id}, not from {run.id}", "load that run.")
        return cls(run, support_x, support_y, classes, steps)

    def _adapt(self) -> Adapted:
        if self._adapted is None:
            support = Support(self._as_inputs(self._support_x), self._targets(), len(self.classes) or 1)
            with torch.no_grad():
                for adapted in self.run.algorithm.adapt(support, self._steps):
                    self._adapted = adapted
        assert self._adapted is not None
        return self._adapted

    def _targets(self) -> Tensor:
        weight = next(self.run.algorithm.parameters())
        y = torch.from_numpy(self._support_y).to(weight.device)
        return y if self.classes else y.to(weight.dtype)

    def _as_inputs(self, x: Array) -> Tensor:
        weight = next(self.run.algorithm.parameters())
        tensor = torch.from_numpy(np.ascontiguousarray(x)).to(weight.device)
        return tensor.to(weight.dtype) / 255 if x.dtype == np.uint8 else tensor.to(weight.dtype)


def _probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = scipy.special.softmax(logits, axis=1)
    return found


def _check_shape(run: "Run", x: Array) -> None:
    shape = tuple(run.result["example_shape"])
    if x.shape[1:] != shape or not len(x):
        raise UserError(
            f"the examples have shape {x.shape} but run {run.id} takes (n, {', '.join(map(str, shape))})",
            "resize them.",
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UserError("an example has a number that is not finite", "fix or remove it.")


def _check_classes(run: "Run", sizes: Sequence[int]) -> None:
    method: Algorithm = run.algorithm
    name = run.result["algo"]
    if len(sizes) < 2:
        raise UserError("the support set has one class but at least 2 are needed", "add examples of another.")
    if method.outputs is not None and method.outputs != len(sizes):
        raise UserError(
            f"the support set has {len(sizes)} classes but run {run.id} ({name}) has a head for {method.outputs}",
            "use a run of a method without a fixed head, such as protonet, or one trained with "
            f"`task.way={len(sizes)}`.",
        )
    if method.needs_equal_shots and len(set(sizes)) > 1:
        raise UserError(
            f"{name} needs the same number of examples of each class but they have {min(sizes)} to {max(sizes)}",
            "remove some, or use a run of another method, such as protonet or maml.",
        )
