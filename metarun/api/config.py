"""Compose a config from keyword arguments, as the commands do from their words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from metarun.config.compose import resolve
from metarun.config.folder import config_dir as packaged_config_dir
from metarun.config.hydra_errors import explain
from metarun.config.hydra_origins import HydraOrigins, only_requested
from metarun.config.key_origins import using_origins
from metarun.config.override_checks import check_overrides
from metarun.config.overrides import hydra_overrides, without_plus
from metarun.config.quoting import quote
from metarun.config.schema import Config, register
from metarun.errors import UserError
from metarun.system.paths import is_folder


@contextmanager
def composed(
    settings: Mapping[str, Any], config_dir: str | Path | None = None, primary: Literal["config", "test"] = "config"
) -> Iterator[DictConfig]:
    """Compose the config of `metarun train key=value …`; errors raised in the block say what set a value.

    Args:
        settings: values by key, such as {"algo": "maml", "task.shot": 5}.
        config_dir: a folder with your own YAML files, like `--config-dir` of the command.
        primary: "test" for the config of `metarun test`.

    Raises:
        UserError: a key or an option does not exist.
    """
    register()
    folders = [] if config_dir is None else [Path(config_dir)]
    words = [f"{key}={_format(value)}" for key, value in settings.items()]
    overrides = [without_plus(each) for each in hydra_overrides(words, folders)]
    check_overrides("test" if primary == "test" else "train", overrides, folders)
    GlobalHydra.instance().clear()  # state of an interrupted earlier call
    with initialize_config_dir(str(packaged_config_dir()), version_base="1.3"):
        _search(folders)
        try:
            config = compose(primary, overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain(error) or " ".join(str(error).split())) from error
        HydraConfig.instance().set_config(config)  # the chosen option of each group is read from it
        with open_dict(config):
            del config["hydra"]
        origins = HydraOrigins(config)
        origins.check_named()
        with using_origins(origins):
            yield only_requested(config, origins) if primary == "test" else config


def _search(folders: Sequence[Path]) -> None:
    """Let Hydra find YAML files in some folders too, as `--config-dir` does."""
    loader = GlobalHydra.instance().config_loader()
    for folder in folders:
        if not is_folder(folder):
            raise UserError(f"config_dir={folder}: no such folder", "relative paths start at the current folder.")
        loader.get_search_path().prepend("command-line", f"file://{folder.resolve()}", anchor="schema")
    loader.repository.initialize_sources(loader.get_search_path())  # type: ignore[attr-defined]  # it has read them


def compose_config(settings: Mapping[str, Any], config_dir: str | Path | None = None) -> Config:
    """Compose the config of `metarun train key=value …` and return it as plain values; see `composed`."""
    with composed(settings, config_dir) as config:
        return resolve(config)


def _format(value: Any) -> str:
    """Format a value for Hydra's parser."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w+-]*", value, re.ASCII) and value.lower() not in _LITERALS:
        return value  # such as the name of an option, or of several: omniglot+glyphs
    if isinstance(value, str | Path):
        return quote(str(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_format(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_format, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_LITERALS = {"null", "true", "false", "nan", "inf"}  # which Hydra reads as other things than text
