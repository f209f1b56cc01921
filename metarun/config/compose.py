"""Where the YAML tree lies, and a composed config as plain values."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metarun.config.schema import Config, RetestConfig, RunConfig
from metarun.config.values import check_plain
from metarun.errors import UserError
from metarun.system.secrets import masked

FORMER_NORM = "default_norm"  # in the configs of earlier runs


def config_dir() -> Path:
    """Where the YAML tree lies: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"metarun's conf/ folder is neither in {package} nor beside it; install metarun again.")


def resolve(config: DictConfig) -> Config:
    """Return a config as plain values, its interpolations replaced and its types checked.

    Raises:
        UserError: a key is unknown, or of the wrong type, or without a value, or with one that no run can take.
    """
    schema = RetestConfig if "run" in config else RunConfig
    try:
        typed = merged(OmegaConf.structured(schema), with_current_keys(config) if FORMER_NORM in config else config)
        resolved = OmegaConf.to_container(typed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(str(error).partition("\n")[0]) from error
    except RecursionError:
        raise UserError("the config nests too deep, or a value of it refers to itself.") from None
    assert isinstance(resolved, dict)
    check_plain(resolved)
    for key in ("data", "algo", "backbone"):
        if not isinstance(resolved[key], dict) and not (schema is RetestConfig and resolved[key] is None):
            raise UserError(
                f"`{key}` is {resolved[key]!r} but it names a class and its arguments", f"choose {key}=NAME."
            )
    return {str(key): value for key, value in resolved.items()}


def with_current_keys(config: Mapping[Any, Any]) -> Config:
    """Return a stored config, of any version, under current keys: `default_norm` became `paper_backbone.norm`."""
    current: Config = {str(key): value for key, value in config.items() if key != FORMER_NORM}
    norm = config.get(FORMER_NORM)
    return current if norm is None else {"paper_backbone": {"norm": norm}, **current}


def merged(schema: DictConfig, config: DictConfig | Config) -> DictConfig:
    """Return a config whose values are of the types in a schema.

    Raises:
        OmegaConfBaseException: one cannot be.
        UserError: one is a number that no float can hold.
    """
    try:
        typed = OmegaConf.merge(schema, config)
    except OverflowError:
        raise UserError("a number of the config is too large", f"the largest is {sys.float_info.max:.0e}.") from None
    assert isinstance(typed, DictConfig)
    return typed


# What keeps Hydra from leaving files of its own when a stored config is run again.
_STORED_HEADER = """\
# metarun {verb} --config-path FOLDER --config-name config         FOLDER: where this file lies
defaults:
  - _self_
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
hydra:
  run: {{dir: .}}
  sweep: {{dir: "${{results_dir}}/sweeps", subdir: .}}
  output_subdir: null
  job: {{chdir: false}}
"""


def stored_yaml(config: Config, verb: str) -> str:
    """Return the text of a run's `config.yaml`, from which `metarun <verb>` makes the same run again."""
    return _STORED_HEADER.format(verb=verb) + OmegaConf.to_yaml(
        OmegaConf.create({**masked(config), "force": False, "retry_failed": False})
    )
