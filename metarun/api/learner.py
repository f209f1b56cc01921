"""A method adapted to a few examples of your own: what predicts new ones."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
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

FORMAT = 1  # of the file; raise it with every change that an older metarun could not read
AT_ONCE = 256  # queries in one pass, of methods that predict each by itself
Array = NDArray[Any]


@dataclass(frozen=True)
class LeaveOneOut:
    """What the support set says of itself.

    Args:
        examples: that were predicted from the others.
        accuracy: of these predictions, in [0, 1].
        lowest_score: the lowest of their largest logits.
    """

    examples: int
    accuracy: float
    lowest_score: float


class Learner:
    """What a run made of one support set.

    Attributes:
        classes: the labels, in the order of the columns of `predict`; empty in regression.
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
                f"there are {len(support_x)} support examples and {len(labels)} labels", "give each example one label."
            )
        if metric_of(run.result) is MSE:
            targets = np.asarray(labels, np.float32)
            return cls(run, support_x, targets[:, None] if targets.ndim == 1 else targets, (), steps)
        classes = tuple(sorted(set(labels), key=lambda label: (str(type(label)), label)))
        _check_classes(run, [labels.count(label) for label in classes])
        places = {label: place for place, label in enumerate(classes)}
        y = np.array([places[label] for label in labels], np.int64)
        order = np.argsort(y, kind="stable")  # class by class, as methods expect
        learner = cls(run, support_x[order], y[order], classes, steps)
        learner._adapt()
        return learner

    def predict(self, x: Any) -> NDArray[np.float64]:
        """Predict new examples.

        Args:
            x: (n, *shape), as of `Run.adapt`.

        Returns:
            (n, classes) probabilities, in the order of `classes`; (n, outputs) numbers in regression.
        """
        logits = self._logits(x)
        if not self.classes:
            return logits
        exponents = np.exp(logits - logits.max(1, keepdims=True))
        probabilities: NDArray[np.float64] = exponents / exponents.sum(1, keepdims=True)
        return probabilities

    def _logits(self, x: Any) -> NDArray[np.float64]:
        queries = np.asarray(x)
        if not len(queries):
            return np.empty((0, max(1, len(self.classes))))
        _check_shape(self.run, queries)
        adapted = self._adapt()
        # Queries of a transductive method see each other: all go in together.
        size = max(1, len(queries)) if self.run.result["transductive"] else AT_ONCE
        with torch.no_grad():
            found = [adapted.predict(self._as_inputs(queries[i : i + size])) for i in range(0, len(queries), size)]
        predictions: NDArray[np.float64] = torch.cat(found).double().cpu().numpy()
        return predictions

    def scores(self, x: Any) -> NDArray[np.float64]:
        """Return (n,) how near each example is to its best class: the largest logit."""
        found: NDArray[np.float64] = self._logits(x).max(1)
        return found

    def leave_one_out(self) -> "LeaveOneOut | None":
        """Predict each support example from the others; None where every class has one example.

        Examples of a class that has no other are not asked.
        """
        if self._check is not None or not self.classes:
            return self._check
        sizes = np.bincount(self._support_y)
        asked = np.flatnonzero(sizes[self._support_y] > 1)
        if self.run.algorithm.needs_equal_shots or not len(asked):
            return None
        right, scores = 0, []
        for place in asked:
            rest = np.arange(len(self._support_y)) != place
            others = type(self)(self.run, self._support_x[rest], self._support_y[rest], self.classes, self._steps)
            logits = others._logits(self._support_x[[place]])[0]
            right += int(logits.argmax() == self._support_y[place])
            scores.append(float(logits.max()))
        self._check = LeaveOneOut(len(asked), right / len(asked), min(scores))
        return self._check

    def is_unknown(self, x: Any) -> NDArray[np.bool_]:
        """Return (n,) whether an example is farther from every class than any support example is from the others.

        The threshold is the lowest score in `leave_one_out`; without one nothing is unknown.
        """
        check = self.leave_one_out()
        if check is None or not len(np.asarray(x)):
            return np.zeros(len(np.asarray(x)), np.bool_)
        unknown: NDArray[np.bool_] = self.scores(x) < check.lowest_score
        return unknown

    def classify(self, x: Any) -> list[Any]:
        """Return the most probable class of each example."""
        if not self.classes:
            raise UserError("a regression run has no classes", "call `predict`.")
        return [self.classes[place] for place in self.predict(x).argmax(1)]

    def save(self, path: str | Path) -> None:
        """Write the learner to a file: its support set and the name of its run, whose directory holds the network.

        Raises:
            UserError: the file cannot be written, or a label is neither a text nor a number.
        """
        about = {
            "format": FORMAT,
            "run": str(self.run.path.resolve()),
            "id": self.run.id,
            "steps": self._steps,
            "classes": self.classes,
        }
        try:
            text = json.dumps(about)
        except TypeError as error:
            raise UserError(
                f"this learner cannot be saved ({error})", "use labels that are texts or numbers."
            ) from None
        content = BytesIO()
        np.savez_compressed(content, about=np.array(text), support_x=self._support_x, support_y=self._support_y)
        write_bytes(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: str | Path, run: "Run | None" = None) -> Self:
        """Read what `save` wrote.

        Args:
            path: of the file. It holds arrays and a text; nothing in it is run.
            run: that it was adapted from; None: the one whose directory the file names.

        Raises:
            UserError: the file is not a learner, or of another version or run.
        """
        from metarun.api.run import Run

        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                support_x, support_y = arrays["support_x"], arrays["support_y"]
            if about["format"] != FORMAT:
                raise ValueError(f"it has format {about['format']}, this metarun reads {FORMAT}")
            run_path, run_id, steps = about["run"], about["id"], int(about["steps"])
            classes = tuple(about["classes"])
        except Exception as error:  # numpy and zipfile raise a dozen kinds on foreign bytes
            raise UserError(f"{path} is not a learner of metarun ({error})", "save it again.") from error
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


def _check_shape(run: "Run", x: Array) -> None:
    shape = tuple(run.result["example_shape"])
    if x.shape[1:] != shape or not len(x):
        raise UserError(
            f"the examples have shape {x.shape} but run {run.id} takes (n, {', '.join(map(str, shape))})",
            "resize them as the run's data are.",
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UserError("an example holds a number that is not finite", "correct or drop it.")


def _check_classes(run: "Run", sizes: Sequence[int]) -> None:
    method: Algorithm = run.algorithm
    name = run.result["algo"]
    if len(sizes) < 2:
        raise UserError("the support set has one class, which leaves nothing to tell apart", "add examples of another.")
    if method.outputs is not None and method.outputs != len(sizes):
        raise UserError(
            f"the support set has {len(sizes)} classes but run {run.id} ({name}) has a head for {method.outputs}",
            "use a run of a method without a fixed head, such as protonet, or one trained with that `task.way`.",
        )
    if method.needs_equal_shots and len(set(sizes)) > 1:
        raise UserError(
            f"{name} needs equally many examples of each class but they have {min(sizes)} to {max(sizes)}",
            "drop some, or use a run of another method, such as protonet or maml.",
        )
