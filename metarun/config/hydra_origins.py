"""Find what set a value of a composed config: the command, a sweep, an experiment, a recipe, a file, or the default."""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from metarun.config.folder import config_dir
from metarun.config.values import value_at
from metarun.errors import UserError, did_you_mean
from metarun.system.signals import PARENT

FROM_TRAINING = "as the run was trained"
LOCAL = ("local", "default")  # conf/local/default.yaml, which need not exist
EXPLICIT_GROUPS = ("experiment", "task", "sweep")  # their options count as set by the command that selects them


class HydraOrigins:
    """The origins of the values of the config that Hydra composed for the current job.

    Evaluated lazily: the first message makes Hydra resolve its defaults list again, which takes a tenth of a second.

    Args:
        config: as composed by Hydra, with interpolations.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.is_test = "run" in config
        self.overrides = list(HydraConfig.get().overrides.task)
        self.in_a_sweep = PARENT in os.environ or HydraConfig.get().mode == RunMode.MULTIRUN
        self.loader: Any = GlobalHydra.instance().config_loader()

    @cached_property
    def _plain(self) -> Any:
        return OmegaConf.to_container(self.config, resolve=False)

    @cached_property
    def _defaults(self) -> Any:
        """Hydra's `DefaultsList`: the merged files, and what selected each of them."""
        return self.loader.compute_defaults_list(HydraConfig.get().job.config_name, self.overrides, RunMode.RUN)

    def source_key(self, key: str) -> str:
        """See `Origins.source_key`."""
        if self.is_test and key == "test.query":
            return "task.query"  # `metarun test` has one key for both
        seen = {key}
        while (found := re.fullmatch(r"\$\{(\w[\w.]*)\}", str(value_at(self._plain, key)))) and found[1] not in seen:
            key = found[1]
            seen.add(key)
        return key

    def set_by(self, key: str) -> str | None:
        """See `Origins.set_by`."""
        if self.is_test and value_at(self._plain, key) is None:
            return FROM_TRAINING
        if self._is_overridden(key):
            return f"set by the {'sweep' if self.in_a_sweep else 'command'}"
        source = self._source(key)
        return None if source is None else self._describe(source)

    def overridden_keys(self) -> list[str]:
        """See `Origins.overridden_keys`."""
        keys = {override.lstrip("+~").partition("=")[0] for override in self.overrides}
        return sorted(key for key in keys if "." in key and not key.startswith("hydra."))

    def is_explicit(self, key: str) -> bool:
        """Whether the command sets a key: by an override, its primary config, or an option that it selects."""
        if self._is_overridden(key):
            return True
        source = self._source(key)
        if source is None or source.primary:
            return source is not None
        group = str(source.config_path).partition("/")[0]
        appended = any(f"+{group}=" in override for override in self.overrides)
        return group in EXPLICIT_GROUPS and (appended or self._is_selected(str(source.override_key or group)))

    def _is_overridden(self, key: str) -> bool:
        if any(override.lstrip("+").startswith(f"{key}=") for override in self.overrides):
            return True
        overridden = [override.key_or_group for override in self._defaults.config_overrides]
        return any(key == each or key.startswith(f"{each}.") for each in overridden)

    def _is_selected(self, group: str) -> bool:
        chosen = self._defaults.overrides.override_metadata.get(group)
        return chosen is not None and chosen.external_override

    def _source(self, key: str) -> ResultDefault | None:
        """Return the last of the merged files that sets a key."""
        for source in reversed(self._defaults.defaults):
            package = f"{source.package}." if source.package else ""
            if not key.startswith(package) or str(source.config_path).endswith("_schema"):
                continue
            loaded = self.loader.repository.load_config(source.config_path)
            plain = OmegaConf.to_container(loaded.config, resolve=False) if loaded else None
            if value_at(plain, key.removeprefix(package)) not in (None, "???"):
                assert isinstance(source, ResultDefault)
                return source
        return None

    def _describe(self, source: ResultDefault) -> str:
        if source.primary:
            loaded = self.loader.repository.load_config(source.config_path)
            folder = Path(loaded.path.removeprefix("file://"))
            own = folder.resolve() == config_dir().resolve()
            return "the default" if own else f"set by {folder / str(source.config_path)}.yaml"
        group, _, name = str(source.config_path).rpartition("/")
        chosen = self._defaults.overrides.override_metadata.get(source.override_key)
        if chosen is not None and not chosen.external_override:
            chooser = "=".join(str(chosen.containing_config_path).rsplit("/", 1))
            return f"set by {group}={name}, which {chooser} selects"
        appended = any(override.startswith("+task=") for override in self.overrides)
        is_default = chosen is None and group == "task" and not appended
        return f"the default, {group}={name}" if is_default else f"set by {group}={name}"

    def check_named(self) -> None:
        """Check that every option selected by the command or by a config file exists.

        Hydra silently drops a missing option of an optional group, such as a recipe.
        """
        choices = HydraConfig.get().runtime.choices
        for group, name in choices.items():
            names = [name] if isinstance(name, str) and (group, name) != LOCAL else []
            missing = [each for each in names if not self.loader.repository.config_exists(f"{group}/{each}")]
            if missing and (chosen := self._defaults.overrides.override_metadata.get(group)) is not None:
                options = self.loader.get_group_options(group)
                algo = choices.get("recipe_algo", choices["algo"])
                of_the_algo = [each for each in options if each.startswith(f"{algo}_")]
                where = "" if chosen.external_override else f" (named in {chosen.containing_config_path}.yaml)"
                raise UserError(
                    f"unknown option {group}={missing[0]}{where}.{did_you_mean(missing[0], options)} "
                    + (f"Possible: {', '.join(of_the_algo or options)}." if options else "")
                )


def only_requested(config: DictConfig, origins: HydraOrigins) -> DictConfig:
    """Return the config of `metarun test` with only those task and test settings that the command sets.

    All others are those of the trained run. A data set's YAML may set them for training: data=sinusoid selects
    task=10points.
    """
    requested = config.copy()
    for group in ("task", "test"):
        for key, value in config[group].items():
            if value is not None and not origins.is_explicit(f"{group}.{key}"):
                requested[group][key] = None
    return requested
