"""The config schemas of `metarun train` and `metarun test`, and the resolvers `by_way` and `by_shot`."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from metarun.system.ranges import ends, is_range

Config = dict[str, Any]  # resolved: plain values only


@dataclass
class TaskConfig:
    """`task`: the N-way K-shot setting."""

    way: Any = MISSING  # a number, or a range such as "5..20"
    shot: Any = MISSING
    query: int = MISSING
    within: str | None = None
    across: str | None = None
    imbalance: str | None = None
    labels: str = "classes"
    embedding: str = "pixels"
    clusters: int = 500
    partitions: int = 1


@dataclass
class TrainConfig:
    """`train`: the outer loop."""

    iterations: int | None = MISSING
    time_budget: str | None = MISSING
    meta_batch: int = MISSING
    way: Any = MISSING  # as of `task`
    shot: Any = MISSING
    query: int = MISSING
    within: str | None = None
    across: str | None = None
    imbalance: str | None = None
    augment: Any = None
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
    compile: Any = False
    cuda_graph: Any = False


@dataclass
class TestConfig:
    """`test`: meta-validation and meta-test."""

    __test__ = False  # not a test class, despite its name

    tasks: int = MISSING
    steps: int = MISSING
    query: int = MISSING
    seed: int = MISSING
    interval: str = "closed"  # this and the next have defaults for configs stored before these keys existed
    unknown: int = 0
    out_of_scope: int = 0


@dataclass
class PaperBackboneConfig:
    """`paper_backbone`: the network of the method's paper, read by the options of `backbone`."""

    norm: str = "batch"
    filters: int = 64
    downsample: str = "pool"


@dataclass
class ChosenConfig:
    """`chosen`: the names of the group options, for tables and directory names."""

    algo: str = MISSING
    data: str = MISSING
    backbone: str = MISSING


@dataclass
class PublishedConfig:
    """`published`: what a paper reports for runs whose `result.json` has the values in `of`."""

    accuracy: float | None = None  # either this
    mse: float | None = None  # or this
    ci95: float | None = None
    source: str = MISSING
    of: dict[str, Any] = MISSING


@dataclass
class RunConfig:
    """The config of `metarun train`. The schema of `algo`, `data` and `backbone` is the signature of its class."""

    data: Any = MISSING
    task: TaskConfig = field(default_factory=TaskConfig)
    algo: Any = MISSING
    backbone: Any = MISSING
    seed: int = MISSING
    device: str = MISSING
    precision: str = MISSING
    tf32: bool = False  # this and the next have defaults for configs stored before these keys existed
    deterministic: bool = False
    results_dir: str = MISSING
    force: bool = MISSING
    retry_failed: bool = MISSING
    logger: dict[str, Any] = field(default_factory=dict)  # each schema is the signature of the class that it names
    train: TrainConfig = field(default_factory=TrainConfig)
    test: TestConfig = field(default_factory=TestConfig)
    paper_backbone: PaperBackboneConfig = field(default_factory=PaperBackboneConfig)
    encoder_input: Any = None  # how a pre-trained encoder needs examples, for `data`
    published: PublishedConfig | None = None
    chosen: ChosenConfig = field(default_factory=ChosenConfig)


@dataclass
class RetestTaskConfig:
    """`task` of `metarun test`: null keeps the run's value."""

    way: Any = None  # a number, or a range such as "5..20"
    shot: Any = None
    query: int | None = None
    within: str | None = None  # "all": from any group, where the run has another value
    across: str | None = None  # "none": null, where the run has another value
    imbalance: str | None = None  # likewise


@dataclass
class RetestTestConfig:
    """`test` of `metarun test`: null keeps the run's value."""

    __test__ = False

    weights: str = "best"
    tasks: int | None = None
    steps: int | None = None
    seed: int | None = None
    interval: str | None = None
    unknown: int | None = None
    out_of_scope: int | None = None


@dataclass
class RetestTrainConfig:
    """`train` of `metarun test`, which does not train: null keeps the run's value."""

    over_tasks: str | None = None
    compile: Any = None


@dataclass
class RetestChosenConfig:
    """`chosen` of `metarun test`: null keeps the run's value."""

    algo: str | None = None
    data: str | None = None


@dataclass
class RetestConfig:
    """The config of `metarun test`."""

    run: str = MISSING
    trust: list[str] = field(default_factory=list)
    episodes: str | None = None
    algo: Any = None
    data: Any = None
    backbone: Any = None  # not used: data=sinusoid sets it, but the checkpoint has its own
    task: RetestTaskConfig = field(default_factory=RetestTaskConfig)
    train: RetestTrainConfig = field(default_factory=RetestTrainConfig)
    test: RetestTestConfig = field(default_factory=RetestTestConfig)
    paper_backbone: PaperBackboneConfig = field(default_factory=PaperBackboneConfig)  # not used, like `backbone`
    encoder_input: Any = None  # that of the run, for its `data`
    audit: bool = MISSING
    device: str = MISSING
    tf32: bool | None = None
    deterministic: bool | None = None
    results_dir: str = MISSING
    force: bool = MISSING
    retry_failed: bool = MISSING
    chosen: RetestChosenConfig = field(default_factory=RetestChosenConfig)


def by_way(values: dict[int, Any], _root_: DictConfig) -> Any:
    """Resolve `${by_way:{5: 0.4, 20: 0.1}}` to the entry of the largest way that is at most `task.way`, or its end."""
    return _at_or_below(values, _root_.task.way)


def by_shot(values: dict[int, Any], _root_: DictConfig) -> Any:
    """Resolve `${by_shot:{1: 4, 5: 2}}` to the entry of the largest shot that is at most `task.shot`, or its end."""
    return _at_or_below(values, _root_.task.shot)


def _at_or_below(values: dict[int, Any], size: Any) -> Any:
    largest = ends(size)[1] if is_range(size) else size
    if not isinstance(largest, int):  # `resolve` refuses it
        largest = 0
    return values[max((key for key in values if key <= largest), default=min(values))]


def register() -> None:
    """Register the schemas and resolvers with Hydra; safe to repeat."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunConfig)
    store.store(name="retest_schema", node=RetestConfig)
    OmegaConf.register_new_resolver("by_way", by_way, replace=True)
    OmegaConf.register_new_resolver("by_shot", by_shot, replace=True)
