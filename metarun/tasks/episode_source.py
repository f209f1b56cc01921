"""Listed tasks as data to test on."""

from collections.abc import Mapping
from typing import Any

from metarun.data.own.episodes import Episodes
from metarun.errors import UserError
from metarun.tasks.described_source import DescribedSource
from metarun.tasks.episode_stream import EpisodeStream
from metarun.tasks.stream import StreamSpec


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

    def draw_from(self, spec: StreamSpec) -> EpisodeStream:
        """Return the tasks as they are listed, whatever the shape and the seed.

        Raises:
            UserError: another split is asked for.
        """
        if spec.split != "test":
            raise UserError(f"the episodes of {self.name} have no meta-{spec.split} tasks", "they are for testing.")
        return EpisodeStream(self.episodes, self.floor_vectors, spec.device, spec.dtype)
