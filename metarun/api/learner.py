"""A method adapted to your own examples, which predicts new ones."""

import json
from collections.abc import Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.special
import torch
from numpy.typing import NDArray

from metarun.algorithms import Adapted
from metarun.api.model import Model
from metarun.api.own_support import Fit, LeaveOneOut, fit, leave_one_out
from metarun.api.support_checks import as_examples, check_classes, check_shape, check_targets
from metarun.data.encoders import Encoder
from metarun.data.own.examples import read_examples
from metarun.data.own.found import Examples
from metarun.errors import UserError
from metarun.results.find_run import find_run
from metarun.results.metrics import MSE, metric_of
from metarun.runner.run_inputs import RunInputs
from metarun.system.atomic_write import write_npz
from metarun.system.inputs import Inputs, as_tensors, to_network
from metarun.system.progress import OnProgress, ignore_progress
from metarun.tasks.batch import Support

FORMAT = 1  # of the file; increase it with every incompatible change
BATCH = 64  # queries per pass, for methods that are not transductive; their feature maps stay in a CPU's cache
Array = NDArray[Any]


class Learner:
    """A run adapted to one support set.

    Attributes:
        classes: the labels in the order of the columns of `predict`; empty in regression.
    """

    def __init__(self, model: Model, support_x: Array, support_y: Array, classes: tuple[Any, ...], steps: int) -> None:
        self._model = model
        self.classes = classes
        self._support_x, self._support_y, self._steps = support_x, support_y, steps
        self._adapted: Adapted | None = None
        self._check: LeaveOneOut | None = None

    @classmethod
    def adapted(cls, model: Model, support_x: Any, labels: Sequence[Any], steps: int) -> Self:
        """Return a learner; see `Run.adapt`."""
        x = as_examples(support_x)
        check_shape(model, x)
        if len(labels) != len(x):
            raise UserError(
                f"there are {len(x)} support examples but {len(labels)} labels", "pass one label per example."
            )
        if metric_of(model.result) is MSE:
            numbers = np.asarray(labels, np.float32)
            targets = numbers[:, None] if numbers.ndim == 1 else numbers
            check_targets(model, targets)
            return cls(model, x, targets, (), steps)
        if None in labels:
            raise UserError(f"support example {labels.index(None)} has no class", "label it, or remove the example.")
        classes = tuple(sorted(set(labels), key=lambda label: (str(type(label)), label)))
        check_classes(model, [labels.count(label) for label in classes])
        index = {label: i for i, label in enumerate(classes)}
        y = np.array([index[label] for label in labels], np.int64)
        order = np.argsort(y, kind="stable")  # sorted by class, as methods expect
        learner = cls(model, x[order], y[order], classes, steps)
        learner._adapt()
        return learner

    @property
    def id(self) -> str:
        """The id of the run that was adapted."""
        return self._model.id

    @property
    def encoder(self) -> Encoder:
        """How a user's own files become inputs; see `metarun.data.encoders`.

        Raises:
            UserError: that is not known.
        """
        return self._model.encoder

    @property
    def support(self) -> tuple[Array, Array]:
        """The support set: inputs (n, *shape) sorted by class, and indices (n) of `classes` or targets (n, outputs)."""
        return self._support_x, self._support_y

    def read(self, path: str | Path, invert: bool = False, on_progress: OnProgress = ignore_progress) -> Examples:
        """Read examples for `predict` from files; see `Run.read`."""
        return read_examples(self.encoder, Path(path), invert, on_progress)

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

    def _logits(self, x: Any, on_progress: OnProgress | None = None) -> NDArray[np.float64]:
        queries = as_examples(x)
        if not len(queries):
            return np.empty((0, len(self.classes) or self._support_y.shape[1]))
        check_shape(self._model, queries)
        adapted = self._adapt()
        # The predictions of a transductive method depend on all queries, so all are in one batch.
        size = max(1, len(queries)) if self._model.result["transductive"] else BATCH
        batches = []
        for i in range(0, len(queries), size):
            with torch.no_grad():
                batches.append(adapted.predict(self._as_inputs(queries[i : i + size])))
            if on_progress is not None:
                on_progress(min(i + size, len(queries)), len(queries))
        predictions: NDArray[np.float64] = torch.cat(batches).double().cpu().numpy()
        return predictions

    def fit(self) -> list[Fit]:
        """Return how well the support set is predicted before adaptation and after each step.

        Methods that take no steps have one element.
        """
        return fit(self._model.algorithm, self._support(), self._steps)

    def leave_one_out(self) -> "LeaveOneOut | None":
        """Predict each support example from the others; None if every class has one example.

        The only example of a class is not predicted.
        """
        if self._check is None and self.classes:
            self._check = leave_one_out(self._model.algorithm, self._support(), self._steps)
        return self._check

    def predict_known(
        self, x: Any, on_progress: OnProgress | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the probabilities of `predict`, and (n,) whether an example is unknown.

        Unknown is what scores below every support example in `leave_one_out`: its largest logit is lower. If
        `leave_one_out` returns None, no example is unknown.
        """
        logits, check = self._logits(x, on_progress), self.leave_one_out()
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
        check = self._check
        metadata = {
            "format": FORMAT,
            "run": str(self._model.path.resolve()),
            "id": self._model.id,
            "steps": self._steps,
            "classes": self.classes,
            "leave_one_out": None if check is None else [check.examples, check.accuracy, check.lowest_score],
        }
        try:
            text = json.dumps(metadata)
        except TypeError as error:
            raise UserError(f"this learner cannot be saved ({error})", "use strings or numbers as labels.") from None
        support = {"support_x": self._support_x, "support_y": self._support_y}
        write_npz(Path(path), {"about": np.array(text), **support, **self._model.inputs.to_arrays()})

    @classmethod
    def load(
        cls,
        path: str | Path,
        run: "str | PathLike[str] | None" = None,
        trust: Collection[str] = (),
        results_dir: str | Path | None = None,
    ) -> Self:
        """Load a learner that `save` wrote.

        Args:
            path: of the file. Nothing in it is executed.
            run: that it was adapted from, or its directory; None: the run at the path in the file.
            trust: see `Run`.
            results_dir: the directory of results that the run is looked for in; None: it is where it was.

        Raises:
            UserError: the file is not a learner, or has another version or run.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                metadata = json.loads(str(arrays["about"]))
                if metadata["format"] != FORMAT:
                    raise UserError(
                        f"{path} is a learner of another version of metarun (format {metadata['format']}, this one "
                        f"reads {FORMAT})",
                        "adapt the run again with this version.",
                    )
                support_x, support_y = arrays["support_x"], arrays["support_y"]
                inputs = RunInputs.from_arrays(arrays)
            run_path, run_id, steps = metadata["run"], metadata["id"], int(metadata["steps"])
            classes, check = tuple(metadata["classes"]), metadata.get("leave_one_out")
            leave_one_out = None if check is None else LeaveOneOut(*check)
        except FileNotFoundError:
            raise UserError(
                f"{path} does not exist", "name a file that `metarun adapt` or `Learner.save` wrote."
            ) from None
        except UserError:
            raise
        except Exception as error:  # numpy and zipfile raise many types for other files
            raise UserError(f"{path} is not a valid learner ({error})", "save it again.") from error
        if results_dir is not None:
            run_path = find_run(Path(results_dir), str(run_id)).path
        model = Model(Path(run_path if run is None else run), trust, inputs)
        if model.id != run_id:
            raise UserError(f"{path} was adapted from run {run_id}, not from {model.id}", "load that run.")
        learner = cls(model, support_x, support_y, classes, steps)
        learner._check = leave_one_out
        return learner

    def _adapt(self) -> Adapted:
        if self._adapted is None:
            with torch.no_grad():
                for adapted in self._model.algorithm.adapt(self._support(), self._steps):
                    self._adapted = adapted
        assert self._adapted is not None
        return self._adapted

    def _support(self) -> Support:
        device, dtype = self._placement()
        y = torch.from_numpy(self._support_y).to(device)
        return Support(self._as_inputs(self._support_x), y if self.classes else y.to(dtype), len(self.classes) or 1)

    def _as_inputs(self, x: Array) -> Inputs:
        device, dtype = self._placement()
        return to_network(as_tensors(self._model.transform(x), device), device, dtype)

    def _placement(self) -> tuple[torch.device, torch.dtype]:
        weight = next(self._model.algorithm.parameters(), torch.empty(0))  # a floor has no weights
        return weight.device, weight.dtype


def _probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = scipy.special.softmax(logits, axis=1)
    return found
