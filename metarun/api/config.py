"""Compose a config from keyword arguments."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import open_dict
from omegaconf.errors import OmegaConfBaseException

from metarun.config.compose import resolve
from metarun.config.folder import config_dir as packaged_config_dir
from metarun.config.mixtures import with_mixtures
from metarun.config.schema import Config, register
from metarun.errors import UserError


def compose_config(settings: Mapping[str, Any], config_dir: str | Path | None = None) -> Config:
    """Compose the config of `metarun train key=value …` and return it as plain values.

    Args:
        settings: values by key, such as {"algo": "maml", "task.shot": 5}.
        config_dir: a folder with your own YAML files, like `--config-dir` of the command.

    Raises:
        UserError: a key or an option does not exist.
    """
    register()
    folders = [] if config_dir is None else [Path(config_dir)]
    overrides = with_mixtures([f"{key}={_format(value)}" for key, value in settings.items()], folders)
    if config_dir is not None:
        overrides.append(f"hydra.searchpath=[{_format(str(Path(config_dir).resolve()))}]")
    GlobalHydra.instance().clear()  # state of an interrupted earlier call
    try:
        with initialize_config_dir(str(packaged_config_dir()), version_base="1.3"):
            config = compose("config", overrides, return_hydra_config=True)
        HydraConfig.instance().set_config(config)  # the chosen option of each group is read from it
        with open_dict(config):
            del config["hydra"]
        return resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(" ".join(str(error).split())) from error


def _format(value: Any) -> str:
    """Format a value for Hydra's parser."""
    if isinstance(value, str):
        return value if re.sub("[_+-]", "", value).isalnum() and value not in _LITERALS else json.dumps(value)
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_format(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_format, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_LITERALS = {"null", "true", "false", "yes", "no", "on", "off"}
