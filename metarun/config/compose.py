"""Resolve a composed config to plain values."""

import sys
from collections.abc import Mapping
from itertools import product
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metarun.config.schema import Config, RetestConfig, RunConfig
from metarun.config.unknown_keys import describe_unknown_key, known_part, unknown_keys
from metarun.config.values import check_plain, dotted
from metarun.errors import UserError
from metarun.system.ranges import parse_range
from metarun.system.secrets import masked

OLD_NORM_KEY = "default_norm"  # in configs stored by earlier versions


def resolve(config: DictConfig) -> Config:
    """Return a config as plain values, with interpolations resolved and types checked.

    Raises:
        UserError: a key is unknown, has the wrong type, or its value is missing or not allowed.
    """
    declared = OmegaConf.get_type(config)
    composed = declared in (RunConfig, RetestConfig)  # else stored by a run, without a schema
    is_test = declared is RetestConfig if composed else "run" in config
    schema = RetestConfig if is_test else RunConfig
    try:
        container = OmegaConf.to_container(config)
        assert isinstance(container, dict)
        plain = {str(key): value for key, value in container.items()}
        current = plain if composed else with_current_keys(plain)
        _check_keys(current, schema)
        typed = merged(OmegaConf.structured(schema), current)
        resolved = OmegaConf.to_container(typed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(str(error).partition("\n")[0]) from error
    except RecursionError:
        raise UserError("the config is nested too deeply, or one of its values refers to itself.") from None
    assert isinstance(resolved, dict)
    check_plain(resolved)
    for key in ("data", "algo", "backbone"):
        if not isinstance(resolved[key], dict) and not (is_test and resolved[key] is None):
            raise UserError(
                f"`{key}` is {resolved[key]!r} but must name a class and its arguments", f"choose {key}=NAME."
            )
    if not is_test:
        for group, size in product(("task", "train"), ("way", "shot")):
            resolved[group][size] = parse_range(f"{group}.{size}", resolved[group][size])
    return {str(key): value for key, value in resolved.items()}


def _check_keys(config: Mapping[Any, Any], schema: type) -> None:
    """Raise a UserError for a key without an effect: with a plus sign, Hydra accepts any."""
    unknown = next(unknown_keys(config, schema), None)
    if unknown is not None:
        raise UserError(describe_unknown_key(unknown, [key for key, _ in dotted(known_part(config, schema))]))


def with_current_keys(config: Mapping[Any, Any]) -> Config:
    """Return a stored config of any version with current keys: `default_norm` became `paper_backbone.norm`."""
    current: Config = {str(key): value for key, value in config.items() if key != OLD_NORM_KEY}
    norm = config.get(OLD_NORM_KEY)
    return current if norm is None else {"paper_backbone": {"norm": norm}, **current}


def merged(schema: DictConfig, config: DictConfig | Config) -> DictConfig:
    """Return a config with its values converted to the types of a schema.

    Raises:
        OmegaConfBaseException: a value has the wrong type.
        UserError: a number is too large for a float.
    """
    try:
        typed = OmegaConf.merge(schema, config)
    except OverflowError:
        raise UserError("a number in the config is too large", f"the largest is {sys.float_info.max:.0e}.") from None
    assert isinstance(typed, DictConfig)
    return typed


# Keeps Hydra from writing files of its own when a stored config is run again.
_STORED_HEADER = """\
# metarun {verb} --config-path FOLDER --config-name config         FOLDER: where this file is
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
    """Return the text of a run's `config.yaml`, which `metarun <verb>` can run again."""
    return _STORED_HEADER.format(verb=verb) + OmegaConf.to_yaml(
        OmegaConf.create({**masked(config), "force": False, "retry_failed": False})
    )
