"""What makes two runs the same run: all of a config that can change its numbers, and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from metarun.config.arguments import hints_of, takes_argument, with_code, with_paths
from metarun.config.instantiate import found_by_name
from metarun.config.schema import Config
from metarun.config.source_code import code_hash
from metarun.system.fingerprint import content_hash
from metarun.system.paths import is_file, is_folder, path_of

# Keys that cannot change a run's numbers, or only say again what another key holds.
NOT_IDENTITY = (
    *("device", "results_dir", "force", "retry_failed", "logger", "paper_backbone", "published"),
    *("train.checkpoint_every", "train.over_tasks", "algo.over_tasks", "algo.recompute", "data.storage"),
)

# Keys that came later, with the value that runs had without them; at that value they leave a run's id as it was. All
# can change a number, and who asks for `deterministic` is not served by a row that was made without.
CAME_LATER = {"tf32": False, "deterministic": False, "test.interval": "closed", "data.invert": False}

_STORAGE = Literal["memory", "disk"]  # `metarun.data.cache.Storage`
_HOW = Literal["auto", "loop", "vectorised"]  # `metarun.tasks.vectorize.How`, which only torch can load

# Where metarun keeps its classes that take no path and that only torch can load: they are not asked.
_WITHOUT_PATHS = ("metarun.algorithms.", "metarun.backbones.", "metarun.loggers.")


def run_id(config: Config) -> str:
    """Return the 8 hexadecimal digits that stand for everything in a resolved config that can change its numbers.

    In place of a path that a class declares (see `metarun.system.paths.PathText`) stands what lies there, beside the
    name of code what that code is. No other value is looked up on the disk.

    Raises:
        UserError: what a path leads to cannot be read.
    """
    identity = OmegaConf.create(config)
    usual = [key for key, value in CAME_LATER.items() if OmegaConf.select(identity, key) == value]
    for key in (*NOT_IDENTITY, *usual):
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(identity, parent) if parent else identity
        if not parent or _means_as_metaruns(node, name):
            node.pop(name, None)
    plain = _with_content(OmegaConf.to_container(identity))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]


def seedless_id(config: Config) -> str:
    """Return what stands for a resolved config but its seed: runs that have it in common differ in nothing else."""
    return run_id({key: value for key, value in config.items() if key != "seed"})


def data_identity(config: Config) -> str:
    """Return a hash of all that a config says of its data, their content included where it names a path."""
    return hashlib.sha256(json.dumps(_with_content(config["data"]), sort_keys=True).encode()).hexdigest()


def declared_paths(node: Config) -> list[str]:
    """Return the paths that the classes of a part of a config declare, such as a file of weights."""
    paths: list[str] = []

    def remember(path: str, _: Any) -> str:
        paths.append(path)
        return path

    with_paths(node, remember, _class_of)
    return paths


def with_absolute_paths(config: Config, start: Path | None = None) -> Config:
    """Return a config in which each path that a class declares is absolute; `start` is as of `path_of`."""

    def absolute(path: str, _: Any) -> str:
        return str(path_of(path, start))

    changed: Config = with_paths(config, absolute, _class_of)
    return changed


def _with_content(node: Any) -> Any:
    return with_code(with_paths(node, _content, _class_of), _code)


def _content(path: str, _: Any) -> str:
    place = path_of(path)
    return content_hash(place) if is_file(place) or is_folder(place) else path


def _code(name: str) -> Any:
    if name.startswith("metarun."):
        return name
    found = _found(name)
    code = None if found is None else code_hash(found, name.replace(":", ".").rpartition(".")[0])
    return name if code is None else [name, code]


def _class_of(target: str) -> Any:
    return None if target.startswith(_WITHOUT_PATHS) else _found(target)


def _found(name: str) -> Any:
    return found_by_name(name.replace(":", "."))


def _means_as_metaruns(node: Any, name: str) -> bool:
    """Whether a key of a class has the meaning that it has in metarun's own, and so cannot change a number.

    A method need not take `over_tasks` for that: then it is the run that heeds it.
    """
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(target, str) or target.startswith("metarun."):
        return True
    found = _found(target)
    if found is None:
        return False
    heeded_by_the_run = name == "over_tasks" and not takes_argument(found, name)
    return heeded_by_the_run or hints_of(found).get(name) in (_STORAGE, _HOW)
