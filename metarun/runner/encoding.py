"""Encode the examples of a run once, if its backbone has a pre-trained encoder."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from metarun.backbones.encoders import Encoder, check_readable, encode, may_know_classes
from metarun.config.instantiate import build, fits
from metarun.config.schema import Config
from metarun.data import ClassDataset, MixedDatasets
from metarun.data.encoded import EncoderOutputs, encoded_dataset, encoded_examples
from metarun.data.examples import Examples, Values
from metarun.data.own.episodes import Episodes
from metarun.errors import UserError
from metarun.results.records import Record
from metarun.runner.data_loading import wrong_type_error
from metarun.system.progress import OnProgress
from metarun.tasks.source import TaskSource, task_source

log = logging.getLogger(__name__)


def find_encoder(config: Config) -> Encoder | None:
    """Return the pre-trained encoder of a resolved config's backbone; None: it has none.

    Raises:
        UserError: its weights are missing or damaged.
    """
    node = config.get("backbone", {}).get("encoder")
    if node is None:
        return None
    encoder = build("backbone.encoder", node)
    if not isinstance(encoder, Encoder):
        raise wrong_type_error("backbone.encoder", node["_target_"], encoder, "metarun.backbones.encoders.Encoder")
    return encoder


def check_features(config: Config) -> None:
    """Raise a UserError if a data set has no features such as the backbone's encoder reads, before it is loaded."""
    data, given = config["data"], config.get("encoder_input") or {}
    if not isinstance(given, Mapping):
        raise UserError(f"encoder_input={given} is not a mapping of settings of `data`", "omit it: `backbone` sets it.")
    needed = given.get("features")
    if needed and data.get("features") == needed and not fits("data", data, "features"):
        chosen = config["chosen"]
        raise UserError(
            f"backbone={chosen['backbone']} needs data.features={needed} but data={chosen['data']} has none",
            "use data that it reads (docs/encoders.md), or choose another backbone.",
        )


def is_frozen(backbone: Config) -> bool:
    """Whether examples are the vectors of an encoder that the run does not train."""
    return backbone.get("encoder") is not None and backbone.get("train", "none") == "none"


def check_hash(encoder: Encoder | None, trained: Record, run: str) -> None:
    """Raise a UserError if an encoder is not the one that a run was trained with.

    Args:
        encoder: as it is now.
        trained: the run's record.
        run: its id.
    """
    before = trained.get("encoder_hash")
    if encoder is not None and before is not None and encoder.hash != before:
        raise UserError(
            f"the encoder has the hash {encoder.hash[:8]} but run {run} was trained with {before[:8]}",
            f"install or restore what it was trained with ({trained.get('external_data')}), or train again.",
        )


def transform(encoder: Encoder, config: Config, device: torch.device) -> Callable[[Values], Values]:
    """Return what makes inputs of the network of raw examples: vectors, or what a trained encoder takes."""
    return partial(encode, encoder, device=device) if is_frozen(config["backbone"]) else encoder.prepare


def encoded_source(raw: TaskSource, encoder: Encoder, config: Config, device: torch.device) -> TaskSource:
    """Return the data with the encoder's outputs as examples, from the cache or computed.

    Args:
        raw: the data.
        encoder: of the backbone.
        config: the resolved config.
        device: where to compute.

    Raises:
        UserError: the encoder does not read such examples, or the cache cannot be written.
    """
    name = config["chosen"]["backbone"]
    check_readable(encoder, raw.inputs, name, raw.name, raw.display())
    if may_know_classes(encoder, raw.name):
        log.warning(
            "backbone=%s was trained on %s, which has some of the classes of %s: they are not new to it",
            *(name, encoder.saw, raw.name),
        )
    data = raw.data
    if not isinstance(data, ClassDataset | MixedDatasets):
        raise UserError(
            f"backbone={name} encodes classes but data={raw.name} is {raw.kind}", "choose another backbone."
        )
    example: Values = (
        (data if isinstance(data, ClassDataset) else next(iter(data.parts.values()))).splits["train"].values[:1]
    )
    encoding = _encoding(encoder, config, device, example)
    with _progress(f"encoding {raw.name} with {name}, once") as on_progress:
        if isinstance(data, ClassDataset):
            source = task_source(encoded_dataset(data, encoding, on_progress))
        else:
            parts = {each: encoded_dataset(part, encoding, on_progress) for each, part in data.parts.items()}
            source = task_source(MixedDatasets(parts, data.weights))
    source.raw_inputs = raw.inputs
    return source


def encoded_episodes(episodes: Episodes, encoder: Encoder, config: Config, device: torch.device) -> Episodes:
    """Return listed tasks with the encoder's outputs as examples, from the cache or computed.

    Args:
        episodes: of raw examples.
        encoder: of the run's backbone.
        config: the run's resolved config.
        device: where to compute.

    Raises:
        UserError: the cache cannot be written.
    """
    encoding = _encoding(encoder, config, device, episodes.values[:1])
    raw = Examples(episodes.values, np.array([0, len(episodes.values)]), ("episodes",))
    identity = f"episodes|{replace(episodes, episodes=()).hash}"
    with _progress(f"encoding {episodes.name} with {encoding.name}, once") as on_progress:
        found = encoded_examples(
            episodes.name, "episodes", identity, encoding, raw, lambda done: on_progress(done, len(episodes.values))
        )
    return replace(episodes, values=found.values)


def _encoding(encoder: Encoder, config: Config, device: torch.device, example: Values) -> EncoderOutputs:
    """Return what is computed of each example; `example` is one, to learn the shape of the output."""
    make, frozen = transform(encoder, config, device), is_frozen(config["backbone"])
    probe = make(np.ascontiguousarray(example))
    sizes = {} if frozen else dict(encoder.id_sizes)
    name = config["chosen"]["backbone"]
    return EncoderOutputs(f"{encoder.hash}|{frozen}", name, make, probe.dtype, probe.shape[1:], sizes)


@contextmanager
def _progress(what: str) -> Iterator[OnProgress]:
    """Show a progress bar on a terminal, or one line elsewhere, from the first call on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(file=sys.stderr), transient=True)
    shown: list[TaskID] = []

    def on_progress(done: int, of: int) -> None:
        if not shown:
            log.info("%s: %s examples", what, f"{of:,}")
            shown.append(bar.add_task(what, total=of))
            if bar.console.is_terminal:
                bar.start()
        bar.update(shown[0], completed=done)

    try:
        yield on_progress
    finally:
        bar.stop()
