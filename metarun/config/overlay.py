"""A trained run's config under what `metarun test` asks for."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from metarun.config.compose import resolve
from metarun.config.schema import Config, RunConfig


def overlaid(trained: Any, asked: Config) -> Config:
    """Return a trained run's config with what `metarun test` asked for laid over it; null there keeps what is."""
    config: Config = {**trained, **{key: asked[key] for key in ("device", "results_dir", "force", "retry_failed")}}
    config.update(_given({key: asked[key] for key in ("tf32", "deterministic")}))
    for group in ("task", "train", "test"):
        config[group] = {**trained[group], **_given(asked[group])}
    if asked["task"]["query"] is not None:
        config["test"]["query"] = asked["task"]["query"]
    if asked["audit"]:
        config["audit"] = True
    if asked["data"] is not None:
        config["data"] = asked["data"]
        config["chosen"] = {**trained["chosen"], "data": asked["chosen"]["data"]}
    return config


def without_algo(config: DictConfig) -> DictConfig:
    """Return what `metarun test` was asked for but its `algo`."""
    stripped = config.copy()
    stripped["algo"] = None
    return stripped


def under_another_head(config: Config, asked: DictConfig) -> Config:
    """Return an overlaid config with the `algo` that `metarun test` asked for, if any, instead of the trained one.

    What that algo takes from elsewhere, such as `${task.way}`, is what the trained run and the command settled on.
    """
    if OmegaConf.select(asked, "algo") is None:
        return config
    of_a_run = {field.name for field in fields(RunConfig)}
    settled = {key: value for key, value in config.items() if key in of_a_run}
    algo = OmegaConf.to_container(asked.algo, resolve=False)
    resolved = resolve(OmegaConf.create({**settled, "algo": algo}))
    return {**config, "algo": resolved["algo"], "chosen": {**config["chosen"], "algo": asked.chosen.algo}}


def _given(values: Mapping[str, Any]) -> Config:
    return {key: value for key, value in values.items() if value is not None}
