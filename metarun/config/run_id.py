"""The id of a run: a hash of everything in its config that can change its numbers, and nothing else."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from metarun.config.arguments import accepts_argument, map_code_names, map_paths, type_hints
from metarun.config.identity_keys import ADDED_ARGUMENTS, ADDED_KEYS, EMBEDDING, EXCLUDED_FROM_ID, STORAGE
from metarun.config.instantiate import import_by_name
from metarun.config.schema import Config
from metarun.config.source_code import code_hash
from metarun.system.fingerprint import content_hash
from metarun.system.paths import WHEEL, is_file, is_folder, resolve_path

_STORAGE = Literal["memory", "disk"]  # `metarun.data.files.cache.Storage`
_HOW = Literal["auto", "loop", "vectorised"]  # `metarun.tasks.vectorize.How`, which only torch can load

# Modules whose classes take no path; importing them would load torch.
_WITHOUT_PATHS = ("metarun.algorithms.", "metarun.backbones.", "metarun.loggers.")
_WITH_WEIGHTS = ("metarun.backbones.encoders.", "metarun.backbones.CausalLM")  # but for these, which come with files


def run_id(config: Config) -> str:
    """Return 8 hexadecimal digits that identify everything in a resolved config that can change its numbers.

    A path that a class declares (see `metarun.system.paths.PathText`) is replaced by a hash of its content, and a code
    name is extended by a hash of the code. No other value is looked up on the disk.

    Raises:
        UserError: a file or folder cannot be read.
    """
    identity = OmegaConf.create(config)
    if embedding := OmegaConf.select(identity, EMBEDDING):
        OmegaConf.update(identity, EMBEDDING, Path(embedding).name.rpartition("-")[2])  # the run's id, wherever it is
    defaults = [key for key, value in ADDED_KEYS.items() if OmegaConf.select(identity, key) == value]
    for key in _in_mixtures(identity, (*EXCLUDED_FROM_ID, *defaults)):
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(identity, parent) if parent else identity
        if node is not None and (not parent or _has_metaruns_meaning(node, name)):
            node.pop(name, None)
    algo = OmegaConf.select(identity, "algo")
    for name, value in ADDED_ARGUMENTS.get(str(OmegaConf.select(identity, "algo._target_")), {}).items():
        if algo.get(name) == value:
            algo.pop(name)
    plain = _with_content(OmegaConf.to_container(identity))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]


def seedless_id(config: Config) -> str:
    """Return the id of a resolved config without its seed: the same for runs that only differ in the seed."""
    return run_id({key: value for key, value in config.items() if key != "seed"})


def data_identity(config: Config) -> str:
    """Return a hash of a config's `data`, including the content of the paths that it names."""
    return hashlib.sha256(json.dumps(_with_content(config["data"]), sort_keys=True).encode()).hexdigest()


def declared_paths(node: Config) -> list[str]:
    """Return the paths in a config node that its classes declare, such as a file of weights."""
    paths: list[str] = []

    def collect(path: str, _: Any) -> str:
        paths.append(path)
        return path

    map_paths(node, collect, _class_of)
    return paths


def with_absolute_paths(config: Config, start: Path | None = None) -> Config:
    """Return a config with absolute paths; `start` is that of `resolve_path`."""

    def absolute(path: str, _: Any) -> str:
        return path if path.startswith(WHEEL) else str(resolve_path(path, start))

    changed: Config = map_paths(config, absolute, _class_of)
    return changed


def _in_mixtures(identity: Any, keys: Iterable[str]) -> Iterator[str]:
    """Yield keys, and those of `data` also as keys of each data set in a mixture."""
    sets = OmegaConf.select(identity, "data.sets", throw_on_missing=False)
    names = [*sets] if isinstance(sets, Mapping) or OmegaConf.is_dict(sets) else []
    for key in keys:
        yield key
        if key == STORAGE:
            yield from (f"data.sets.{name}.storage" for name in names)


def _with_content(node: Any) -> Any:
    return map_code_names(map_paths(node, _content, _class_of), _code)


def _content(path: str, _: Any) -> str:
    resolved = resolve_path(path)
    return content_hash(resolved) if is_file(resolved) or is_folder(resolved) else path


def _code(name: str) -> Any:
    if name.startswith("metarun."):
        return name
    found = _found(name)
    code = None if found is None else code_hash(found, name.replace(":", ".").rpartition(".")[0])
    return name if code is None else [name, code]


def _class_of(target: str) -> Any:
    without = target.startswith(_WITHOUT_PATHS) and not target.startswith(_WITH_WEIGHTS)
    return None if without else _found(target)


def _found(name: str) -> Any:
    return import_by_name(name.replace(":", "."))


def _has_metaruns_meaning(node: Any, name: str) -> bool:
    """Whether a key means the same as in metarun's own classes, so that it cannot change a number.

    If a method does not take `over_tasks`, the run applies it.
    """
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(target, str) or target.startswith("metarun."):
        return True
    found = _found(target)
    if found is None:
        return False
    applied_by_run = name == "over_tasks" and not accepts_argument(found, name)
    return applied_by_run or type_hints(found).get(name) in (_STORAGE, _HOW)
