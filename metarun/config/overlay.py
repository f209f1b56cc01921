"""Combine a trained run's config with what `metarun test` requests."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from metarun.config.compose import resolve
from metarun.config.schema import Config, RunConfig
from metarun.config.unknown_keys import known_part
from metarun.system.ranges import parse_range

# Values of a test of a run that has another, since null keeps that one.
UNSET = {"within": "all", "across": "none", "imbalance": "none"}


def overlay(trained: Any, requested: Config) -> Config:
    """Return a trained run's config with the values of `metarun test` that are not null."""
    config: Config = {**trained, **{key: requested[key] for key in ("device", "results_dir", "force", "retry_failed")}}
    config.update(_without_null({key: requested[key] for key in ("tf32", "deterministic")}))
    for group in ("task", "train", "test"):
        config[group] = {**trained[group], **_without_null(requested[group])}
    for size in ("way", "shot"):
        config["task"][size] = parse_range(f"task.{size}", config["task"][size])
    for key, unset in UNSET.items():
        if requested["task"][key] == unset:
            config["task"][key] = None
    if requested["task"]["query"] is not None:
        config["test"]["query"] = requested["task"]["query"]
    if requested["audit"]:
        config["audit"] = True
    if requested["data"] is not None:
        config["data"] = requested["data"]
        config["chosen"] = {**trained["chosen"], "data": requested["chosen"]["data"]}
    return config


def without_algo(config: DictConfig) -> DictConfig:
    """Return the config of `metarun test` without its `algo`."""
    stripped = config.copy()
    stripped["algo"] = None
    return stripped


def with_requested_algo(config: Config, requested: DictConfig) -> Config:
    """Return an overlaid config with the `algo` of `metarun test`, if it has one, instead of the trained one.

    Interpolations of that algo, such as `${task.way}`, are resolved in the overlaid config.
    """
    if OmegaConf.select(requested, "algo") is None:
        return config
    algo = OmegaConf.to_container(requested.algo, resolve=False)
    resolved = resolve(OmegaConf.create({**known_part(config, RunConfig), "algo": algo}))
    return {**config, "algo": resolved["algo"], "chosen": {**config["chosen"], "algo": requested.chosen.algo}}


def _without_null(values: Mapping[str, Any]) -> Config:
    return {key: value for key, value in values.items() if value is not None}
