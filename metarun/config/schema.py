"""The schema of a config, where the YAML tree lies, and a run's config under what a test of it asks for."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metarun.config.values import check_plain
from metarun.errors import UserError
from metarun.system.secrets import masked

Config = dict[str, Any]  # resolved: plain values only


@dataclass
class TaskConfig:
    """`task`: the N-way K-shot setting."""

    way: int = MISSING
    shot: int = MISSING
    query: int = MISSING


@dataclass
class TrainConfig:
    """`train`: the outer loop."""

    iterations: int | None = MISSING
    time_budget: str | None = MISSING
    meta_batch: int = MISSING
    way: int = MISSING
    shot: int = MISSING
    query: int = MISSING
    outer_optimizer: str = MISSING
    outer_lr: float = MISSING
    lr_schedule: str = MISSING
    outer_lr_end: float = MISSING
    lr_decay: float = MISSING
    lr_decay_every: int = MISSING
    clip_grad: float | None = MISSING
    validate_every: int = MISSING
    validate_tasks: int = MISSING
    over_tasks: str = MISSING
    checkpoint_every: str | None = None


@dataclass
class TestConfig:
    """`test`: meta-validation and meta-test."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    tasks: int = MISSING
    steps: int = MISSING
    query: int = MISSING
    seed: int = MISSING
    interval: str = "closed"  # a value here is for the configs of runs that were made before there was such a key


@dataclass
class ChosenConfig:
    """`chosen`: the names of the group options, for tables and directory names."""

    algo: str = MISSING
    data: str = MISSING
    backbone: str = MISSING


@dataclass
class PublishedConfig:
    """`published`: what a paper reports for a run of which the keys of `of` hold in `result.json`."""

    accuracy: float | None = None  # one of
    mse: float | None = None  # these two
    ci95: float | None = None
    source: str = MISSING
    of: dict[str, Any] = MISSING


@dataclass
class RunConfig:
    """The whole of `metarun train`. `algo`, `data` and `backbone` name a class, whose signature is their schema."""

    data: Any = MISSING
    task: TaskConfig = field(default_factory=TaskConfig)
    algo: Any = MISSING
    backbone: Any = MISSING
    seed: int = MISSING
    device: str = MISSING
    precision: str = MISSING
    tf32: bool = False  # these two have values here for the configs of runs that were made before there were such keys
    deterministic: bool = False
    results_dir: str = MISSING
    force: bool = MISSING
    retry_failed: bool = MISSING
    logger: dict[str, Any] = field(default_factory=dict)  # each names a class, whose signature is its schema
    train: TrainConfig = field(default_factory=TrainConfig)
    test: TestConfig = field(default_factory=TestConfig)
    default_norm: str = MISSING
    published: PublishedConfig | None = None
    chosen: ChosenConfig = field(default_factory=ChosenConfig)


@dataclass
class RetestTaskConfig:
    """`task` of `metarun test`: null keeps what the run was made for."""

    way: int | None = None
    shot: int | None = None
    query: int | None = None


@dataclass
class RetestTestConfig:
    """`test` of `metarun test`: null keeps what the run was made for."""

    __test__ = False

    tasks: int | None = None
    steps: int | None = None
    seed: int | None = None
    interval: str | None = None


@dataclass
class RetestTrainConfig:
    """`train` of `metarun test`: nothing is trained, but a method may be told how to run its tasks."""

    over_tasks: str = MISSING


@dataclass
class RetestChosenConfig:
    """`chosen` of `metarun test`: null keeps what the run was made for."""

    algo: str | None = None
    data: str | None = None


@dataclass
class RetestConfig:
    """The whole of `metarun test`."""

    run: str = MISSING
    trust: list[str] = field(default_factory=list)
    algo: Any = None
    data: Any = None
    backbone: Any = None  # data=sinusoid chooses one; a checkpoint has its own
    task: RetestTaskConfig = field(default_factory=RetestTaskConfig)
    train: RetestTrainConfig = field(default_factory=RetestTrainConfig)
    test: RetestTestConfig = field(default_factory=RetestTestConfig)
    default_norm: str | None = None
    audit: bool = MISSING
    device: str = MISSING
    tf32: bool | None = None
    deterministic: bool | None = None
    results_dir: str = MISSING
    force: bool = MISSING
    retry_failed: bool = MISSING
    chosen: RetestChosenConfig = field(default_factory=RetestChosenConfig)


def by_way(values: dict[int, Any], _root_: DictConfig) -> Any:
    """Resolve `${by_way:{5: 0.4, 20: 0.1}}` to the entry of the largest way that is not above `task.way`."""
    return _at_or_below(values, _root_.task.way)


def by_shot(values: dict[int, Any], _root_: DictConfig) -> Any:
    """Resolve `${by_shot:{1: 4, 5: 2}}` to the entry of the largest shot that is not above `task.shot`."""
    return _at_or_below(values, _root_.task.shot)


def _at_or_below(values: dict[int, Any], number: int) -> Any:
    return values[max((key for key in values if key <= number), default=min(values))]


def register() -> None:
    """Make the schemas and the resolvers known to Hydra; harmless when repeated."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunConfig)
    store.store(name="retest_schema", node=RetestConfig)
    OmegaConf.register_new_resolver("by_way", by_way, replace=True)
    OmegaConf.register_new_resolver("by_shot", by_shot, replace=True)


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
        typed = merged(OmegaConf.structured(schema), config)
        resolved = OmegaConf.to_container(typed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(str(error).partition("\n")[0]) from error
    except RecursionError:
        raise UserError("the config nests too deep, or a value of it refers to itself.") from None
    assert isinstance(resolved, dict)
    check_plain(resolved)
    for key in ("data", "algo", "backbone"):
        if not isinstance(resolved[key], dict) and not (schema is RetestConfig and resolved[key] is None):
            raise UserError(f"`{key}` is {resolved[key]!r} but it names a class and its arguments; choose {key}=NAME.")
    return {str(key): value for key, value in resolved.items()}


def merged(schema: DictConfig, config: DictConfig | Config) -> DictConfig:
    """Return a config whose values are of the types in a schema.

    Raises:
        OmegaConfBaseException: one cannot be.
        UserError: one is a number that no float can hold.
    """
    try:
        typed = OmegaConf.merge(schema, config)
    except OverflowError:
        raise UserError(f"a number of the config is too large; the largest is {sys.float_info.max:.0e}.") from None
    assert isinstance(typed, DictConfig)
    return typed


def overlaid(trained: Any, asked: Config) -> Config:
    """Return a trained run's config with what `metarun test` asked for laid over it; null there keeps what is."""
    config: Config = {**trained, **{key: asked[key] for key in ("device", "results_dir", "force", "retry_failed")}}
    config.update(_given({key: asked[key] for key in ("tf32", "deterministic")}))
    config["task"] = {**trained["task"], **_given(asked["task"])}
    config["test"] = {**trained["test"], **_given(asked["test"])}
    if asked["task"]["query"] is not None:
        config["test"]["query"] = asked["task"]["query"]
    if asked["audit"]:
        config["audit"] = True
    if asked["data"] is not None:
        config["data"] = asked["data"]
        config["chosen"] = {**trained["chosen"], "data": asked["chosen"]["data"]}
    return config


def without_algo(config: DictConfig) -> DictConfig:
    """Return what `metarun test` was asked for but its `algo`."""
    stripped = config.copy()
    stripped["algo"] = None
    return stripped


def under_another_head(config: Config, asked: DictConfig) -> Config:
    """Return an overlaid config with the `algo` that `metarun test` asked for, if any, instead of the trained one.

    What that algo takes from elsewhere, such as `${task.way}`, is what the trained run and the command settled on.
    """
    if OmegaConf.select(asked, "algo") is None:
        return config
    of_a_run = {field.name for field in fields(RunConfig)}
    settled = {
        **{key: value for key, value in config.items() if key in of_a_run},
        "train": {**config["train"], "over_tasks": asked.train.over_tasks},
    }
    algo = OmegaConf.to_container(asked.algo, resolve=False)
    resolved = resolve(OmegaConf.create({**settled, "algo": algo}))
    return {**config, "algo": resolved["algo"], "chosen": {**config["chosen"], "algo": asked.chosen.algo}}


def _given(values: Mapping[str, Any]) -> Config:
    return {key: value for key, value in values.items() if value is not None}


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
