"""Listed tasks as data to test on."""

from collections.abc import Mapping
from typing import Any

import torch

from metarun.data import Split
from metarun.data.own.episodes import Episodes
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.described_source import DescribedSource
from metarun.tasks.episode_stream import EpisodeStream


class EpisodeSource(DescribedSource):
    """Listed tasks as data; there is nothing to train on.

    Args:
        description: of the data of the run that is tested, see `describe_source`.
        episodes: the tasks.
    """

    def __init__(self, description: Mapping[str, Any], episodes: Episodes) -> None:
        super().__init__(description)
        self.name = episodes.name
        self.episodes = self.data = episodes  # type: ignore[assignment]  # it has what a family of functions has

    @property
    def hash(self) -> str:
        """See `TaskSource`."""
        return self.episodes.hash

    def stream(
        self,
        split: Split,
        shape: TaskShape,  # noqa: ARG002
        seed: int,  # noqa: ARG002
        device: torch.device,
        dtype: torch.dtype,
        disjoint: bool = False,  # noqa: ARG002
    ) -> EpisodeStream:
        """Return the tasks as they are listed, whatever the shape and the seed.

        Raises:
            UserError: another split is asked for.
        """
        if split != "test":
            raise UserError(f"the episodes of {self.name} have no meta-{split} tasks", "they are for testing.")
        return EpisodeStream(self.episodes, self.floor_vectors, device, dtype)
