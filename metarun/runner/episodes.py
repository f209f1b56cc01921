"""`metarun test run=RUN episodes=FILE`: meta-test a run on tasks that a user has listed."""

import logging
from collections.abc import Mapping
from typing import Any

import torch

from metarun.config.schema import Config
from metarun.config.values import value_at
from metarun.data.encoders import Encoder
from metarun.data.own.episode_lists import read_episodes
from metarun.data.own.episodes import Episodes
from metarun.data.own.full_way import DRAWS, full_way_episodes
from metarun.data.texts.published_texts import KNOWN_TEXTS
from metarun.errors import UserError
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.runner.components import Parts
from metarun.runner.current_data import EPISODES
from metarun.runner.device import find_device
from metarun.runner.encoding import check_hash, encoded_episodes, find_encoder
from metarun.runner.run_inputs import check_takes_examples, encoder_for, inputs_of_run
from metarun.system.paths import resolve_path
from metarun.tasks.episode_source import EpisodeSource
from metarun.tasks.episode_stream import EpisodeStream
from metarun.tasks.varying_stream import size_texts

log = logging.getLogger(__name__)

_FIXED = ("task.way", "task.shot", "task.query", "task.within", "test.seed", "test.interval")
_DRAWN = ("task.shot", "test.seed")  # of these, what is not fixed of the tasks of a published set


def find_episodes(requested: Config, run: RunDirectory, trained: Config, record: Record) -> EpisodeSource:
    """Read the episodes that `metarun test` asks for, and make their path in the request absolute.

    Args:
        requested: the config of the command.
        run: to test.
        trained: the run's resolved config.
        record: the run's record.

    Raises:
        UserError: the run takes no examples, the command sets what the episodes define, or they cannot be read.
    """
    check_takes_examples(record["id"], record)
    if requested["data"] is not None:
        raise UserError("episodes= and data= are both given", "omit one of them: episodes have their own examples.")
    path, published = resolve_path(requested["episodes"]), requested["episodes"] in KNOWN_TEXTS
    fixed = [key for key in _FIXED if not (published and key in _DRAWN)]
    if given := [key for key in fixed if value_at(requested, key) is not None]:
        raise UserError(
            f"{given[0]}={value_at(requested, given[0])} but the episodes define their tasks", f"omit {given[0]}."
        )
    inputs = inputs_of_run(run, trained, record)
    of_files = encoder_for(inputs, record["id"], trained)
    if published:
        episodes = _all_classes(requested, of_files, trained, record)
    else:
        requested["episodes"] = str(path)
        episodes = read_episodes(of_files, path)
    if "raw_inputs" in inputs.source and (encoder := find_encoder(trained)) is not None:
        check_hash(encoder, record, record["id"])
        episodes = encoded_episodes(episodes, encoder, trained, find_device(requested["device"]))
    return EpisodeSource(inputs.source, episodes)


def _all_classes(requested: Config, encoder: Encoder, trained: Config, record: Record) -> Episodes:
    """Return the tasks of all classes of a published set.

    Raises:
        UserError: the run was trained on some of them, or the set cannot serve such tasks.
    """
    name, shot, test = requested["episodes"], requested["task"]["shot"] or trained["task"]["shot"], requested["test"]
    if not isinstance(shot, int):
        raise UserError(
            f"task.shot={shot} is a range but the tasks of episodes={name} all have one size", "give one number."
        )
    if record.get("iterations") and name in _published_sets(trained["data"]):
        raise UserError(
            f"episodes={name} has all classes of {name} but run {record['id']} was trained on some of them",
            "use a run on another data set, or of a method without training, such as algo=nearest_centroid.",
        )
    seed = trained["test"]["seed"] if test["seed"] is None else test["seed"]
    return full_way_episodes(encoder, name, shot, test["tasks"] or DRAWS, seed)


def _published_sets(node: Any) -> set[str]:
    """Return the published sets of texts that a config of data, which may be a mixture, names."""
    if not isinstance(node, Mapping):
        return set()
    own = {node["known"]} if isinstance(node.get("known"), str) else set()
    return own.union(*map(_published_sets, node.values()))


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
        "chosen": {**config["chosen"], "data": source.name if requested["episodes"] in KNOWN_TEXTS else EPISODES},
    }


def test_on_episodes(parts: Parts, source: EpisodeSource) -> None:
    """Make episodes the meta-test tasks of a test.

    Raises:
        UserError: the method needs the same number of support examples of each class.
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
    log.info("metarun cannot tell whether the examples of these episodes were used in training")
