"""Build the objects that a resolved config describes."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from metarun.algorithms import Algorithm, Method, PolicyMethod
from metarun.algorithms.inner_loop import check_steps
from metarun.backbones.encoders import Encoder
from metarun.config.instantiate import build
from metarun.config.key_origins import knob, set_by
from metarun.config.schema import Config
from metarun.data import Examples, Split
from metarun.data.contents import log_contents
from metarun.data.duplicates import Duplicates, find_duplicates, log_duplicates
from metarun.errors import UserError
from metarun.loggers import Logger
from metarun.results.metrics import ACCURACY, MSE, RETURN, Metric
from metarun.rl.stream import EnvironmentSource, EnvironmentStream
from metarun.runner.data_loading import load_data
from metarun.runner.device import dtype_of, find_device
from metarun.runner.encoding import check_features, encoded_source, find_encoder
from metarun.runner.memory_check import check_tasks_fit
from metarun.runner.model import build_method
from metarun.system.durations import parse_duration
from metarun.system.ranges import ends
from metarun.tasks.batch import TaskShape
from metarun.tasks.made_classes import check_labels
from metarun.tasks.source import TaskSource
from metarun.tasks.stream import TaskStream
from metarun.tasks.unknown_queries import UnknownQueries, unknown_queries
from metarun.training.schedule import MAX_TASKS, Schedule

log = logging.getLogger(__name__)

TASK_KEYS = ("within", "across", "imbalance")  # of `task` and `train`, besides the sizes; missing in earlier runs


@dataclass
class Parts:
    """The objects that a resolved config describes, each built on first use.

    Args:
        config: the resolved config.
        loaded: the checksum of the weights to be tested, once they are loaded.
        features: of splits, from the checkpoint's network, by split identity.
        is_trained: whether the algorithm is that of a finished run, so that its head cannot change.
        trained_on: returns the resolved `data` of the checkpoint's training, with the hash of those data.
    """

    config: Config
    loaded: str | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    trained_on: tuple[Callable[[], Config], str] | None = None
    is_trained: bool = False

    @cached_property
    def device(self) -> torch.device:
        """The device that `device` names."""
        return find_device(self.config["device"])

    @cached_property
    def dtype(self) -> torch.dtype:
        """The type of weights and inputs for `precision`."""
        return dtype_of(self.config["precision"])

    @cached_property
    def raw(self) -> TaskSource:
        """The data, found or generated, and cached for the next time."""
        check_features(self.config)
        return load_data(self.config["data"])

    @cached_property
    def encoder(self) -> Encoder | None:
        """The pre-trained encoder of the backbone; None: it has none."""
        return find_encoder(self.config)

    @cached_property
    def source(self) -> TaskSource:
        """The data as the network takes them: encoded once, if there is a pre-trained encoder."""
        return self.raw if self.encoder is None else encoded_source(self.raw, self.encoder, self.config, self.device)

    @cached_property
    def method(self) -> Method:
        """The method with its backbone, initialised with `seed`."""
        return build_method(self.config, self.source, self.device, self.dtype)

    @property
    def algorithm(self) -> Algorithm:
        """The method, of supervised learning."""
        assert isinstance(self.method, Algorithm)
        return self.method

    @property
    def policy_method(self) -> PolicyMethod:
        """The method, of reinforcement learning."""
        assert isinstance(self.method, PolicyMethod)
        return self.method

    def environments(self, split: Split, shape: TaskShape, seed: int) -> EnvironmentStream:
        """Return the environments of a split."""
        assert isinstance(self.source, EnvironmentSource)
        return self.source.environments(split, shape, seed, self.device, self.dtype)

    def stream(self, split: Split, shape: TaskShape, seed: int, disjoint: bool = False) -> TaskStream:
        """Return the tasks of a split."""
        stream = self.source.stream(split, shape, seed, self.device, self.dtype, disjoint)
        check_tasks_fit(1, shape, self.source.inputs)
        return stream

    @cached_property
    def test_stream(self) -> TaskStream:
        """The meta-test tasks, which share no example if `test.interval` is "open"."""
        test = self.config["test"]
        interval = test.get("interval", "closed")  # missing in runs of earlier versions
        if interval not in ("closed", "open"):
            setting = f"test.interval='{interval}'{set_by('test.interval')}"
            raise UserError(f"{setting} is not one of closed, open.")
        return self.stream("test", self.test_shape, test["seed"], disjoint=interval == "open")

    @property
    def labels(self) -> str:
        """What `task.labels` is; "classes" in configs of earlier versions."""
        return check_labels(self.config["task"].get("labels", "classes"))

    @property
    def train_shape(self) -> TaskShape:
        """The setting of meta-training tasks; of ranges, the largest."""
        return _shape("train", self.config["train"], "train.query", self.config["train"]["query"])

    @property
    def test_shape(self) -> TaskShape:
        """The setting of meta-val and meta-test tasks; of ranges, the largest."""
        return _shape("task", self.config["task"], "test.query", self.config["test"]["query"])

    @cached_property
    def test_size(self) -> tuple[int, int]:
        """The number of meta-test tasks, limited to those available, and of adaptation steps."""
        tasks, steps = self.config["test"]["tasks"], self.config["test"]["steps"]
        if tasks < 1:
            raise UserError(f"test.tasks={tasks} but it must be at least 1", f"raise {knob('test.tasks', tasks)}.")
        if steps < 0:
            raise UserError(f"test.steps={steps} but it cannot be negative", f"raise {knob('test.steps', steps)}.")
        check_steps("test.steps", steps)
        if tasks > MAX_TASKS:
            lower = knob("test.tasks", tasks)
            raise UserError(f"test.tasks={tasks:,} but at most {MAX_TASKS:,} are possible", f"lower {lower}.")
        if isinstance(self.source, EnvironmentSource):
            return tasks, steps
        _ = self.unknown  # refused now, not after the training
        every = tasks * self.source.tested_sets
        return min(every, self.test_stream.available or every), steps

    @cached_property
    def unknown(self) -> tuple[UnknownQueries, ...]:
        """The unknown queries of meta-test tasks; both keys are missing in runs of earlier versions."""
        test = self.config["test"]
        return unknown_queries(test.get("unknown", 0), test.get("out_of_scope", 0), self.test_stream)

    @cached_property
    def duplicates(self) -> Duplicates | None:
        """Equal examples in the data for training and testing; None in regression, or if this cannot be checked.

        Raises:
            UserError: a class is in two splits under different names, or a meta-test class was used in training.
        """
        data, splits = self.raw, self.raw.splits
        if splits is None:
            return None
        if self.trained_on is None or not self._trained_on_other_data:
            return find_duplicates(data.name, data.hash, lambda: splits)
        node_of, trained_hash = self.trained_on

        def load() -> dict[Split, Examples] | None:
            try:
                return {**(load_data(node_of()).splits or {}), "test": splits["test"]}
            except UserError as error:
                log.warning("cannot check whether these examples were used in training: %s", error)
                return None

        name = f"the training and test data ({data.name})"
        return find_duplicates(name, f"{trained_hash}|{data.hash}", load, test_only=True)

    @property
    def _trained_on_other_data(self) -> bool:
        """Whether the checkpoint was trained on other data."""
        return self.trained_on is not None and self.trained_on[1] != self.source.hash

    def check_examples(self) -> None:
        """Report the data's content and duplicates; raise a UserError if meta-test classes are used in training."""
        log_contents(self.raw.data)
        if self.duplicates is not None:
            log_duplicates(self.source.name, self.duplicates, self._trained_on_other_data)

    @cached_property
    def schedule(self) -> Schedule:
        """The schedule of meta-training."""
        train = {key: value for key, value in self.config["train"].items() if key in Schedule.__dataclass_fields__}
        _, steps = self.test_size
        for key in ("time_budget", "checkpoint_every"):
            duration = train.get(key)
            train[key] = None if duration is None else parse_duration(f"train.{key}", duration)
        return Schedule(**train, validate_steps=steps)

    @property
    def metric(self) -> Metric:
        """The metric for these data."""
        return {"classification": ACCURACY, "regression": MSE, "reinforcement learning": RETURN}[self.source.kind]

    @property
    def loggers(self) -> dict[str, Logger]:
        """The loggers that `logger` chose, by name."""
        return {name: build(f"logger.{name}", node) for name, node in self.config["logger"].items()}


def _shape(group: str, node: Config, query_key: str, query: int) -> TaskShape:
    """Return the shape of the tasks that `task` or `train` describes."""
    (least_way, way), (least_shot, shot) = ends(node["way"]), ends(node["shot"])
    smallest = None if (least_way, least_shot) == (way, shot) else (least_way, least_shot)
    keys = f"{group}.way", f"{group}.shot", query_key, *(f"{group}.{key}" for key in TASK_KEYS)
    within, across, imbalance = map(node.get, TASK_KEYS)
    return TaskShape(way, shot, query, within, across, imbalance, smallest, keys)


_TEST_KEYS = ("task", "test", "audit", "force", "retry_failed", "results_dir", "chosen")


def parts_to_test(config: Config, run: Path, shared: dict[str, Parts]) -> Parts:
    """Return the parts for a test of a run's checkpoint.

    Args:
        config: the resolved config.
        run: the directory of the run to test.
        shared: the parts of the previous test, which are reused if possible; replaced by those of this test.
    """
    parts = Parts(config)
    relevant = {key: value for key, value in config.items() if key not in _TEST_KEYS}
    key = json.dumps([str(run), config["test"]["weights"], relevant], sort_keys=True)
    before = shared.get(key)
    if before is not None and before.loaded:
        parts.loaded, parts.features = before.loaded, before.features
        parts.raw, parts.encoder = before.raw, before.encoder
        parts.source, parts.method = before.source, before.method
    shared.clear()  # keep only one in memory
    shared[key] = parts
    return parts
