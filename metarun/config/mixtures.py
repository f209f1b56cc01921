"""`data=NAME+NAME`: an option of the group `data` that is made of others when a command names it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from metarun.config.folder import config_dir
from metarun.errors import UserError, did_you_mean

TARGET = "metarun.data.Mixture"
_NAME = r"[\w.-]+"
_MIXTURE = re.compile(rf"(?<![\w.+-]){_NAME}(?:\+{_NAME})+")


def with_mixtures(overrides: Iterable[str], folders: Sequence[Path] = ()) -> list[str]:
    """Register each mixture of data sets that the overrides choose; return them with `data=[a,b]` as `data=a+b`.

    Args:
        overrides: of the command line, such as "data=omniglot+glyphs".
        folders: of the user, with YAML files of their own data sets in `data/`.

    Raises:
        UserError: one of the data sets does not exist, or is named twice.
    """
    joined = [re.sub(r"^(\+{0,2}data=)\[([^\[\]]+,[^\[\]]+)\]$", _joined, override) for override in overrides]
    for override in joined:
        if re.match(r"\+{0,2}data=", override):
            for mixture in _MIXTURE.findall(override.partition("=")[2]):
                if not any(place.is_file() for place in _places(mixture, folders)):  # a user's own name may have a +
                    _register(mixture, folders)
    return joined


def _joined(found: re.Match[str]) -> str:
    return found[1] + "+".join(name.strip() for name in found[2].split(","))


def _register(mixture: str, folders: Sequence[Path]) -> None:
    names = mixture.split("+")
    if len(set(names)) < len(names):
        raise UserError(
            f"data={mixture} names a data set twice", f"write a YAML file of your own with two sets and {TARGET}."
        )
    files = [_load(name, folders) for name in names]
    first = files[0]
    defaults = [each for each in first.pop("defaults", []) if not _is_recipe(each)]
    recipe = _recipe_data(_load(names[0], folders)) or names[0]
    everything: dict[str, Any] = {}
    for each in reversed(files):  # the first data set has the last word
        each.pop("defaults", None)
        everything = {**everything, **{key: value for key, value in each.items() if key != "data"}}
    node = {
        "defaults": [{"optional /recipe_data": recipe}, *defaults],  # Hydra wants overrides last
        **everything,
        "data": {
            "_target_": TARGET,
            "sets": {name: each["data"] for name, each in zip(names, files, strict=True)},
            "weights": dict.fromkeys(names, 1),
        },
    }
    ConfigStore.instance().store(group="data", name=mixture, node=node, package="_global_", provider="metarun")


def _places(name: str, folders: Sequence[Path]) -> list[Path]:
    return [folder / "data" / f"{name}.yaml" for folder in (config_dir(), *folders)]


def _load(name: str, folders: Sequence[Path]) -> dict[str, Any]:
    """Return the content of a data set's YAML file; see `read_option`."""
    places = _places(name, folders)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        known = sorted(file.stem for place in places for file in place.parent.glob("*.yaml"))
        raise UserError(
            f"unknown option data={name} in a mixture.{did_you_mean(name, known)} Possible: {', '.join(known)}."
        )
    return read_option(path)


def read_option(path: Path) -> dict[str, Any]:
    """Return the content of a data set's YAML file, with its keys below `data`; nothing is composed or interpolated."""
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    is_global = re.search(r"^# *@package +_global_", path.read_text(encoding="utf-8"), re.MULTILINE)
    if is_global:
        return {str(key): value for key, value in content.items()}
    defaults = content.pop("defaults", [])
    return {"defaults": defaults, "data": content}


def _is_recipe(default: Any) -> bool:
    return isinstance(default, Mapping) and "optional /recipe_data" in default


def _recipe_data(content: Mapping[str, Any]) -> str | None:
    return next((str(each["optional /recipe_data"]) for each in content.get("defaults", []) if _is_recipe(each)), None)
