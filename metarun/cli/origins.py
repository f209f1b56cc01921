"""Who set a value of a composed config: the command, a sweep, an experiment, a recipe, another file, or the default."""

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from metarun.config.compose import config_dir
from metarun.errors import UserError, did_you_mean
from metarun.system.signals import PARENT

OF_THE_RUN = "as the run was trained"
HAND_MADE = ("experiment", "task", "sweep")  # groups whose options, named in a command, say what is asked for


class HydraOrigins:
    """The origins of the values of the config that Hydra composed for the job at work.

    Nothing is looked at before a message asks: Hydra then resolves its defaults list once more, in a tenth of a second.

    Args:
        config: as Hydra composed it, its interpolations in place.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.is_test = "run" in config
        self.words = list(HydraConfig.get().overrides.task)
        self.in_a_sweep = PARENT in os.environ or HydraConfig.get().mode == RunMode.MULTIRUN
        self.loader: Any = GlobalHydra.instance().config_loader()

    @cached_property
    def _plain(self) -> Any:
        return OmegaConf.to_container(self.config, resolve=False)

    @cached_property
    def _defaults(self) -> Any:
        """Hydra's `DefaultsList`: which files were merged, and which words of the command or files chose them."""
        return self.loader.compute_defaults_list(HydraConfig.get().job.config_name, self.words, RunMode.RUN)

    def source_key(self, key: str) -> str:
        """See `Origins.source_key`."""
        if self.is_test and key == "test.query":
            return "task.query"  # `metarun test` has one key for both
        seen = {key}
        while (found := re.fullmatch(r"\$\{(\w[\w.]*)\}", str(_at(self._plain, key)))) and found[1] not in seen:
            key = found[1]
            seen.add(key)
        return key

    def set_by(self, key: str) -> str | None:
        """See `Origins.set_by`."""
        if self.is_test and _at(self._plain, key) is None:
            return OF_THE_RUN
        if self._is_typed(key):
            return f"set by the {'sweep' if self.in_a_sweep else 'command'}"
        source = self._source(key)
        return None if source is None else self._told_source(source)

    def is_by_hand(self, key: str) -> bool:
        """Whether the command itself sets a key: by a word, by its own config, or by an option that it names."""
        if self._is_typed(key):
            return True
        source = self._source(key)
        if source is None or source.primary:
            return source is not None
        group = str(source.config_path).partition("/")[0]
        appended = any(f"+{group}=" in word for word in self.words)
        return group in HAND_MADE and (appended or self._is_chosen_by_hand(str(source.override_key or group)))

    def _is_typed(self, key: str) -> bool:
        if any(word.lstrip("+").startswith(f"{key}=") for word in self.words):
            return True
        typed = [override.key_or_group for override in self._defaults.config_overrides]
        return any(key == each or key.startswith(f"{each}.") for each in typed)

    def _is_chosen_by_hand(self, group: str) -> bool:
        chosen = self._defaults.overrides.override_metadata.get(group)
        return chosen is not None and chosen.external_override

    def _source(self, key: str) -> ResultDefault | None:
        """Return the last of the merged files that holds a key."""
        for source in reversed(self._defaults.defaults):
            package = f"{source.package}." if source.package else ""
            if not key.startswith(package) or str(source.config_path).endswith("_schema"):
                continue
            loaded = self.loader.repository.load_config(source.config_path)
            plain = OmegaConf.to_container(loaded.config, resolve=False) if loaded else None
            if _at(plain, key.removeprefix(package)) not in (None, "???"):
                assert isinstance(source, ResultDefault)
                return source
        return None

    def _told_source(self, source: ResultDefault) -> str:
        if source.primary:
            loaded = self.loader.repository.load_config(source.config_path)
            folder = Path(loaded.path.removeprefix("file://"))
            own = folder.resolve() == config_dir().resolve()
            return "the default" if own else f"set by {folder / str(source.config_path)}.yaml"
        group, _, name = str(source.config_path).rpartition("/")
        chosen = self._defaults.overrides.override_metadata.get(source.override_key)
        if chosen is not None and not chosen.external_override:
            chooser = "=".join(str(chosen.containing_config_path).rsplit("/", 1))
            return f"set by {group}={name}, which {chooser} chooses"
        by_itself = chosen is None and group == "task" and not any(word.startswith("+task=") for word in self.words)
        return f"the default, {group}={name}" if by_itself else f"set by {group}={name}"

    def check_named(self) -> None:
        """Refuse an option that the command or a file of it names and that is not there.

        Hydra drops an option without a word where the group is optional, as recipes are.

        Raises:
            UserError: of the first such option.
        """
        choices = HydraConfig.get().runtime.choices
        for group, name in choices.items():
            names = [name] if isinstance(name, str) else []
            missing = [each for each in names if not self.loader.repository.config_exists(f"{group}/{each}")]
            if missing and (chosen := self._defaults.overrides.override_metadata.get(group)) is not None:
                options = self.loader.get_group_options(group)
                algo = choices.get("recipe_algo", choices["algo"])
                of_the_algo = [each for each in options if each.startswith(f"{algo}_")]
                where = "" if chosen.external_override else f" (named in {chosen.containing_config_path}.yaml)"
                raise UserError(
                    f"there is no {group}={missing[0]}{where}.{did_you_mean(missing[0], options)} "
                    + (f"Possible: {', '.join(of_the_algo or options)}." if options else "")
                )


def _at(values: Any, key: str) -> Any:
    """Return what stands at a dotted key of nested mappings; None where nothing does."""
    for name in key.split("."):
        if not isinstance(values, Mapping) or name not in values:
            return None
        values = values[name]
    return values
