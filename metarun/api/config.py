"""Keyword arguments as the words of a command, and the config that they compose to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import open_dict
from omegaconf.errors import OmegaConfBaseException

from metarun.config.compose import config_dir as packaged_config_dir
from metarun.config.compose import resolve
from metarun.config.schema import Config, register
from metarun.errors import UserError


def composed(settings: Mapping[str, Any], config_dir: str | Path | None = None) -> Config:
    """Return the config that `metarun train key=value …` would compose, as plain values.

    Args:
        settings: values by key, such as {"algo": "maml", "task.shot": 5}.
        config_dir: a folder with YAML files of your own, as `--config-dir` of the command.

    Raises:
        UserError: a key or an option does not exist.
    """
    register()
    words = [f"{key}={_as_word(value)}" for key, value in settings.items()]
    if config_dir is not None:
        words.append(f"hydra.searchpath=[{_as_word(str(Path(config_dir).resolve()))}]")
    GlobalHydra.instance().clear()  # of an earlier call that was interrupted
    try:
        with initialize_config_dir(str(packaged_config_dir()), version_base="1.3"):
            config = compose("config", words, return_hydra_config=True)
        HydraConfig.instance().set_config(config)  # which option each group has is read from there
        with open_dict(config):
            del config["hydra"]
        return resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(" ".join(str(error).split())) from error


def _as_word(value: Any) -> str:
    """Write a value as Hydra reads it."""
    if isinstance(value, str):
        return value if value.replace("_", "").replace("-", "").isalnum() and value not in _WORDS else json.dumps(value)
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_as_word(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_as_word, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_WORDS = {"null", "true", "false", "yes", "no", "on", "off"}
