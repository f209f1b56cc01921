"""`metarun test run=RUN episodes=FILE`: meta-test a run on tasks that a user has listed."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from metarun.config.schema import Config
from metarun.data.own.episode_lists import read_episodes
from metarun.errors import UserError
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.runner.components import Parts
from metarun.runner.current_data import EPISODES
from metarun.runner.device import find_device
from metarun.runner.encoding import check_hash, find_encoder, transform
from metarun.runner.run_inputs import encoder_for, inputs_of_run
from metarun.system.paths import resolve_path
from metarun.tasks.episode_source import EpisodeSource
from metarun.tasks.episode_stream import EpisodeStream
from metarun.tasks.varying_stream import size_texts

log = logging.getLogger(__name__)

_FIXED = ("task.way", "task.shot", "task.query", "task.within", "test.seed", "test.interval")


def find_episodes(requested: Config, run: RunDirectory, trained: Config, record: Record) -> EpisodeSource:
    """Read the episodes that `metarun test` asks for, and make their path in the request absolute.

    Args:
        requested: the config of the command.
        run: to test.
        trained: the run's resolved config.
        record: the run's record.

    Raises:
        UserError: the command sets what the episodes fix, or they cannot be read.
    """
    if requested["data"] is not None:
        raise UserError("episodes= and data= are both given", "leave one out: episodes have examples of their own.")
    if given := [key for key in _FIXED if _at(requested, key) is not None]:
        raise UserError(f"{given[0]}={_at(requested, given[0])} but the episodes fix their tasks", f"omit {given[0]}.")
    path = resolve_path(requested["episodes"])
    requested["episodes"] = str(path)
    inputs = inputs_of_run(run, trained, record)
    episodes = read_episodes(encoder_for(inputs, run.id, trained), path)
    if "raw_inputs" in inputs.source and (encoder := find_encoder(trained)) is not None:
        check_hash(encoder, record, run.id)
        as_inputs = transform(encoder, trained, find_device(requested["device"]))
        episodes = replace(episodes, values=as_inputs(episodes.values))
    return EpisodeSource(inputs.source, episodes)


def with_episodes(config: Config, requested: Config, source: EpisodeSource) -> Config:
    """Return the resolved config of a test on episodes, with their hash in the place of data, and their sizes."""
    episodes = source.episodes
    stream = EpisodeStream(episodes, source.floor_vectors, torch.device("cpu"), torch.float32)
    way, shot = size_texts(stream)
    tasks = requested["test"]["tasks"]
    return {
        **config,
        "data": {EPISODES: source.hash},
        "task": {**config["task"], "way": way, "shot": shot, "query": stream.shape.query, "within": None},
        "test": {**config["test"], "query": stream.shape.query, "tasks": min(tasks or len(episodes), len(episodes))},
        "chosen": {**config["chosen"], "data": EPISODES},
    }


def test_on_episodes(parts: Parts, source: EpisodeSource) -> None:
    """Make episodes the meta-test tasks of a test.

    Raises:
        UserError: the method needs as many support examples of each class.
    """
    parts.raw = parts.source = source
    stream = EpisodeStream(source.episodes, source.floor_vectors, parts.device, parts.dtype)
    if parts.algorithm.needs_equal_shots and not stream.has_equal_shots:
        raise UserError(
            f"{parts.config['chosen']['algo']} needs the same number of support examples of each class, which the "
            f"episodes of {source.name} do not have",
            "use a run of another method, such as protonet or maml.",
        )
    parts.test_stream = stream
    log.info("whether the examples of these episodes were used in training is not known")


def _at(config: Mapping[str, Any], key: str) -> Any:
    group, _, name = key.partition(".")
    return config[group].get(name)
