"""The features of a split's examples from the network of a finished run."""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarun.data import ClassDataset, Split
from metarun.errors import UserError
from metarun.evaluation.feature_cache import AT_ONCE, is_per_example
from metarun.results.run_directory import RunDirectory
from metarun.runner.device import dtype_of
from metarun.runner.model import build_method
from metarun.runner.run_inputs import inputs_of_run
from metarun.runner.stored_config import stored_config
from metarun.system.inputs import Inputs, map_inputs
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.described_source import DescribedSource
from metarun.tasks.stream import StreamSpec
from metarun.training import checkpoint
from metarun.training.resume import best_weights, load_weights


class EmbeddingRun:
    """A finished run whose backbone embeds examples.

    Args:
        path: of the run's directory.
        device: to compute on.

    Attributes:
        checksum: of its weights.

    Raises:
        UserError: the run is not finished, its files are damaged, or it names code of a user.
    """

    def __init__(self, path: str, device: torch.device) -> None:
        self._run, self._device = RunDirectory(Path(path)), device
        record = self._run.read_result()
        if record is None or record["status"] != "done" or not self._run.best.is_file():
            raise UserError(
                f"task.embedding={path} is not a finished training run", "use one that `metarun compare` lists."
            )
        self._record = record
        self._weights = best_weights(self._run, record)
        self.checksum = checkpoint.checksum(self._weights)

    @cached_property
    def _source(self) -> DescribedSource:
        return DescribedSource(inputs_of_run(self._run, stored_config(self._run, None), self._record).source)

    def features(self, data: ClassDataset, split: Split) -> NDArray[np.float32]:
        """Return (examples, features) of a split.

        Raises:
            UserError: the run takes other inputs, or its features of an example depend on the rest of a batch.
        """
        if self._source.inputs != data.inputs:
            asked, has = ([spec.shape for spec in inputs.values()] for inputs in (self._source.inputs, data.inputs))
            raise UserError(
                f"task.embedding={self._run.path.name} was trained on examples of shape {asked} but data={data.name} "
                f"has {has}",
                "use a run on data of that shape.",
            )
        config = stored_config(self._run, None)
        algorithm = build_method(config, self._source, self._device, dtype_of(config["precision"]))
        load_weights(algorithm, self._weights, self._run.best)
        backbone = algorithm.eval().get_submodule("backbone")
        # Any tasks will do: the stream only reads the examples.
        stream = ClassTaskStream(data, StreamSpec(split, TaskShape(2, 1, 1), 0, self._device, torch.float32))
        some = map_inputs(lambda field: field[0], stream.draw(0, 1).query_x)
        if not is_per_example(backbone, some):
            raise UserError(
                f"the features of task.embedding={self._run.path.name} depend on the other examples of a batch "
                f"(backbone.norm={config['backbone'].get('norm')})",
                "use a run with backbone.norm=running, such as one of algo=simclr.",
            )

        @torch.no_grad()
        def embed(examples: Inputs) -> Tensor:
            features: Tensor = backbone(examples)
            return features.float().cpu()

        return stream.embed(embed, AT_ONCE.get(self._device.type, AT_ONCE["cuda"])).numpy()
