"""The method of a finished run with its weights, and what its inputs are."""

from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from metarun.algorithms import Algorithm
from metarun.config.schema import Config
from metarun.data.encoders import Encoder
from metarun.data.examples import Values
from metarun.errors import UserError
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.runner.device import dtype_of, find_device
from metarun.runner.encoding import check_hash, find_encoder, transform
from metarun.runner.model import build_method
from metarun.runner.run_inputs import RunInputs, check_takes_examples, encoder_for, inputs_of_run
from metarun.runner.stored_config import stored_config
from metarun.tasks.described_source import DescribedSource
from metarun.training.resume import best_weights, load_weights


class Model:
    """A finished training run: its record, config, method and inputs.

    Args:
        path: of the run's directory.
        trust: your code in its config that may be executed, such as "my_methods.NearestExample".
        inputs: of the run, if they are known; None: those stored with it or, in runs of earlier versions, those of its
            data.

    Attributes:
        result: the run's record.
        trust: as given.

    Raises:
        UserError: the run is not finished, or its files are damaged.
    """

    def __init__(self, path: str | Path, trust: Collection[str] = (), inputs: RunInputs | None = None) -> None:
        self.directory = RunDirectory(Path(path))
        self.trust, self._given = trust, inputs
        record = self.directory.read_result()
        if record is not None and "trained_by" in record:
            raise UserError(
                f"{path} was made by `metarun test` and has no weights of its own",
                f"use the run that it tested: run={record['trained_by']}.",
            )
        if record is None or record["status"] != "done" or not self.directory.best.is_file():
            raise UserError(
                f"{path} is not a finished training run", "pass the directory of one that `metarun compare` lists."
            )
        self.result: Record = record

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self.directory.path

    @property
    def id(self) -> str:
        """The run's id of eight digits, from its record: `.` and a link to a run do not have its name."""
        return str(self.result["id"])

    @cached_property
    def config(self) -> Config:
        """The resolved config, as nested dictionaries."""
        return stored_config(self.directory, self.trust)

    @cached_property
    def algorithm(self) -> Algorithm:
        """The method with the best weights on meta-val, in eval mode; built without the run's data if possible."""
        device, dtype = find_device(self.config["device"]), dtype_of(self.config["precision"])
        algorithm = build_method(self.config, DescribedSource(self.inputs.source), device, dtype)
        assert isinstance(algorithm, Algorithm)
        load_weights(algorithm, best_weights(self.directory, self.result), self.directory.best)
        return algorithm.eval()

    @cached_property
    def transform(self) -> Callable[[Values], Values]:
        """What makes inputs of the method of raw examples: the pre-trained encoder, if the backbone has one.

        Raises:
            UserError: its weights are missing, or not those that the run was trained with.
        """
        if self.inputs.source.get("raw_inputs") is None:
            return _unchanged
        encoder = find_encoder(self.config)
        assert encoder is not None, "only encoders have raw inputs"
        check_hash(encoder, self.result, self.id)
        return transform(encoder, self.config, find_device(self.config["device"]))

    @property
    def raw_inputs(self) -> Mapping[str, Any]:
        """The fields of a raw example, see `InputSpec`."""
        fields: Mapping[str, Any] = self.inputs.source.get("raw_inputs") or self.inputs.source["inputs"]
        return fields

    @cached_property
    def inputs(self) -> RunInputs:
        """What its inputs are.

        Raises:
            UserError: the run takes no examples; or they are not stored, and its data are missing or have changed.
        """
        check_takes_examples(self.id, self.result)
        return self._given or inputs_of_run(self.directory, self.config, self.result)

    @cached_property
    def encoder(self) -> Encoder:
        """How a user's own files become its inputs.

        Raises:
            UserError: that is not known, as of a user's own data source that is not of pictures.
        """
        return encoder_for(self.inputs, self.id, self.config)


def _unchanged(values: Values) -> Values:
    return values
