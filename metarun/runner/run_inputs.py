"""What the inputs of a run are, stored with the run: a method is built and a user's files are read without its data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from metarun.config.schema import Config
from metarun.data import ClassDataset, EntityDataset
from metarun.data.encoders import Encoder, PictureEncoder, encoder_of
from metarun.data.encoding import Encoding
from metarun.errors import UserError
from metarun.results import checksums
from metarun.results.metrics import RETURN, metric_of
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.runner.data_loading import load_data
from metarun.system.atomic_write import write_npz
from metarun.tasks.described_source import DescribedSource, describe_source
from metarun.tasks.source import TaskSource

_NAME = "source"  # of the array in a file


@dataclass(frozen=True)
class RunInputs:
    """The inputs of a run.

    Args:
        source: a description of its data, see `describe_source`.
        encoding: how a user's own files become such inputs; None: that is not known.
    """

    source: Mapping[str, Any]
    encoding: Encoding | None

    @classmethod
    def of(cls, source: TaskSource) -> Self:
        """Return those of loaded data.

        Raises:
            UserError: the encoding is not cached, and the original files that it is learned from are missing.
        """
        data = source.data.rows if isinstance(source.data, EntityDataset) else source.data
        encoding = data.encoding if isinstance(data, ClassDataset) else None
        return cls(describe_source(source), None if encoding is None else encoding())

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays for `np.savez`, which `from_arrays` reads."""
        arrays = {} if self.encoding is None else self.encoding.to_arrays()
        return {_NAME: np.array(json.dumps(self.source, sort_keys=True)), **arrays}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> Self | None:
        """Return what `to_arrays` stored, among other arrays; None if it is not among them.

        Raises:
            ValueError: it is damaged.
        """
        if _NAME not in stored:
            return None
        source = json.loads(str(stored[_NAME]))
        try:
            DescribedSource(source)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its description of the data is damaged: {error}") from error
        return cls(source, Encoding.from_arrays(stored))


def write_inputs(run: RunDirectory, source: TaskSource) -> None:
    """Write the inputs of a run, which is being trained."""
    try:
        inputs = RunInputs.of(source)
    except UserError:  # the originals of cached data are gone, which training does not need
        return
    write_npz(run.inputs, inputs.to_arrays())


def check_takes_examples(run_id: str, record: Record) -> None:
    """Raise a UserError if a run has learned to act."""
    if metric_of(record) is RETURN:
        raise UserError(
            f"run {run_id} learned to act in environments ({record['data']}), and takes no examples",
            "use `metarun test` to evaluate it on other tasks.",
        )


def inputs_of_run(run: RunDirectory, config: Config, record: Record) -> RunInputs:
    """Return the inputs of a finished run: those stored with it or, as in runs of earlier versions, of its data.

    Args:
        run: the run.
        config: its resolved config.
        record: its record.

    Raises:
        UserError: the file is damaged; or there is none, and the data are missing or have changed.
    """
    if (stored := _read_inputs(run)) is not None:
        return stored
    source = load_data(config["data"])
    inputs = RunInputs.of(source)
    learned = inputs.encoding is not None and inputs.encoding.kind != "pictures"
    if learned and source.hash != record.get("data_hash", source.hash):
        raise UserError(
            f"the data of run {record['id']} have changed since it was trained, so its input scaling is unknown",
            "restore them, or train again.",
        )
    return inputs


def encoder_for(inputs: RunInputs, run_id: str, config: Config) -> Encoder:
    """Return how a user's own files become the inputs of a run.

    Args:
        inputs: of the run.
        run_id: for messages.
        config: the run's resolved config.

    Raises:
        UserError: that is not known, as of a user's own data source that is not of pictures.
    """
    if inputs.encoding is not None:
        return encoder_of(inputs.encoding)
    specs = [*(inputs.source.get("raw_inputs") or inputs.source["inputs"]).values()]
    shape = tuple(specs[0]["shape"])
    if len(specs) == 1 and len(shape) == 3 and shape[0] in (1, 3) and shape[1] == shape[2]:
        return PictureEncoder(shape[1], shape[0], bool(config["data"].get("invert", False)))
    raise UserError(
        f"run {run_id} takes examples of shape {list(shape)}, and metarun does not know how to turn files into them",
        "use `metarun.load(...).adapt(x, y)` from Python.",
    )


def _read_inputs(run: RunDirectory) -> RunInputs | None:
    """Return the stored inputs of a run; None if it has none, as runs of earlier versions."""
    if not run.inputs.is_file():
        return None
    checksums.check(run.inputs)
    try:
        with np.load(run.inputs, allow_pickle=False) as stored:
            return RunInputs.from_arrays(stored)
    except Exception as error:  # numpy and zipfile raise many types for other files
        remedy = "delete it, and the data of the run are read instead."
        raise UserError(f"{run.inputs} is damaged ({error})", remedy) from error
