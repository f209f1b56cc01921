"""Build the objects that a resolved config describes."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metarun.algorithms import Algorithm, to_channels_last
from metarun.algorithms.inner_loop import check_steps
from metarun.backbones import compute_in_bfloat16
from metarun.backbones.frozen import omit_frozen_weights
from metarun.config.instantiate import build, takes
from metarun.config.key_origins import knob, set_by, source_key
from metarun.config.run_id import declared_paths
from metarun.config.schema import Config
from metarun.data import Examples, Split
from metarun.data.contents import log_contents
from metarun.data.duplicates import Duplicates, find_duplicates, log_duplicates
from metarun.errors import UserError, counted
from metarun.loggers import Logger
from metarun.results.metrics import ACCURACY, MSE, Metric
from metarun.runner.data_loading import load_data, wrong_type_error
from metarun.runner.memory_check import check_network_fits, check_tasks_fit
from metarun.system.durations import parse_duration
from metarun.system.ranges import ends
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.stream import TaskSource, TaskStream
from metarun.tasks.varying_stream import VaryingTaskStream
from metarun.tasks.vectorize import check_how
from metarun.training.distributed import own_gpu
from metarun.training.schedule import MAX_TASKS, Schedule

log = logging.getLogger(__name__)


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
        name = self.config["device"]
        if name == "auto":
            name = own_gpu() if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
            if device.type == "meta":
                raise RuntimeError("it stores no data")
            torch.empty(0, device=device)
        except Exception as error:  # any back end's errors
            reason = str(error).partition("\n")[0].rstrip(".")
            raise UserError(f"device={name} cannot be used here ({reason})", "use device=cpu or device=auto.") from None
        return device

    @cached_property
    def dtype(self) -> torch.dtype:
        """The type of weights and inputs for `precision`; bf16 only changes how a network computes."""
        formats = {"float32": torch.float32, "bf16": torch.float32, "float64": torch.float64}
        if self.config["precision"] not in formats:
            raise UserError(f"precision={self.config['precision']} is not one of {', '.join(formats)}.")
        return formats[self.config["precision"]]

    @cached_property
    def source(self) -> TaskSource:
        """The data, found or generated, and cached for the next time."""
        return load_data(self.config["data"])

    @property
    def data_hash(self) -> str:
        """The hash of the data: equal hashes mean equal examples or functions."""
        return self.source.hash

    @cached_property
    def algorithm(self) -> Algorithm:
        """The algorithm with its backbone, initialised with `seed`."""
        if not 0 <= self.config["seed"] < 2**63:
            setting = f"seed={self.config['seed']}{set_by('seed')}"
            raise UserError(f"{setting} but it must be from 0 to 2^63 - 1", "choose another `seed`.")
        check_network_fits(self._make_algorithm)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config["seed"])
            algorithm = self._make_algorithm()
        if self.source.kind not in algorithm.solves:
            raise UserError(
                f"algo={self.config['chosen']['algo']} is for {' and '.join(algorithm.solves)} but "
                f"data={self.source.name} is {self.source.kind}",
                "choose another `algo` (maml does both) or another `data`.",
            )
        return to_channels_last(algorithm.to(self.device, self.dtype))

    def _make_algorithm(self) -> Algorithm:
        backbone = build("backbone", self.config["backbone"], **self._backbone_arguments)
        valid = isinstance(backbone, nn.Module) and hasattr(backbone, "features")
        self._check_type("backbone", backbone, valid, "torch.nn.Module with `features`")
        if declared_paths(self.config["backbone"]):
            omit_frozen_weights(backbone)
        if self.config["precision"] == "bf16":
            compute_in_bfloat16(backbone)
        outputs = self.config["algo"].get("outputs")
        if isinstance(outputs, int) and outputs < 1:
            setting = f"algo.outputs={outputs}{set_by('algo.outputs')}"
            raise UserError(f"{setting} but it must be at least 1", "omit it to use the way of the tasks.")
        node = self._with_outputs(self.config["algo"])
        has_argument = takes("algo", node, "over_tasks")
        arguments = node if has_argument else {key: value for key, value in node.items() if key != "over_tasks"}
        algorithm: Algorithm = build("algo", arguments, backbone=backbone, **self._data_arguments)
        self._check_type("algo", algorithm, isinstance(algorithm, Algorithm), "metarun.algorithms.Algorithm")
        if not has_argument:
            self._set_execution(algorithm)
        return algorithm

    def _with_outputs(self, node: Config) -> Config:
        """Give a head that follows the tasks' way, which is 1 in regression, an output for each target."""
        targets = self.source.outputs
        return {**node, "outputs": targets} if targets is not None and node.get("outputs") == 1 else node

    @property
    def _backbone_arguments(self) -> dict[str, Any]:
        """Constructor arguments of the backbone: the fields of an example if it takes `inputs`, else its shape."""
        inputs = self.source.inputs
        if takes("backbone", self.config["backbone"], "inputs"):
            return {"inputs": inputs}
        fields = ", ".join(f"{name} ({spec.kind})" for name, spec in inputs.items())
        if len(inputs) > 1 or any(spec.kind in ("ids", "mask") for spec in inputs.values()):
            raise UserError(
                f"backbone={self.config['chosen']['backbone']} takes one array of numbers but an example of "
                f"data={self.source.name} has the fields {fields}",
                "use a backbone whose constructor takes `inputs`.",
            )
        return {"input_shape": next(iter(inputs.values())).shape}

    def _set_execution(self, algorithm: Algorithm) -> None:
        """Set how tasks are run, unless the method supports only one way."""
        # Configs stored by earlier versions have this key among the method's arguments.
        how = self.config["algo"].get("over_tasks", self.config["train"].get("over_tasks", "auto"))
        check_how(how)
        if algorithm.how == "auto":
            algorithm.how = how
        elif how not in ("auto", algorithm.how):
            raise UserError(
                f"train.over_tasks={how} but {type(algorithm).__name__} can only loop over tasks",
                "set `train.over_tasks=loop`, or choose another method, such as algo=maml.",
            )

    def _check_type(self, key: str, built: object, valid: bool, expected: str) -> None:
        if not valid:
            raise wrong_type_error(key, self.config[key]["_target_"], built, expected)

    @property
    def _data_arguments(self) -> dict[str, Any]:
        """Constructor arguments of the algorithm that come from the data."""
        node = self.config["algo"]
        needed = [name for name in ("floor_vectors", "train_classes") if takes("algo", node, name) and name not in node]
        arguments: dict[str, Any] = {}
        if "floor_vectors" in needed:
            arguments["floor_vectors"] = self.source.floor_vectors
        if "train_classes" not in needed:
            return arguments
        if self.source.splits is None:
            raise UserError(
                f"algo={self.config['chosen']['algo']} classifies the meta-train classes but "
                f"data={self.source.name} is regression and has none",
                "choose another `algo` (maml) or another `data`.",
            )
        return {**arguments, "train_classes": len(self.source.splits["train"].class_names)}

    def stream(self, split: Split, shape: TaskShape, seed: int) -> TaskStream:
        """Return the tasks of a split."""
        return self._stream(split, shape, seed, disjoint=False)

    def _stream(self, split: Split, shape: TaskShape, seed: int, disjoint: bool) -> TaskStream:
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
        if self._smallest == (self.test_shape.way, self.test_shape.shot):
            return self._stream("test", self.test_shape, test["seed"], disjoint=interval == "open")
        setting = f"task.way={self.config['task']['way']} and task.shot={self.config['task']['shot']}"
        if interval == "open":
            raise UserError(f"{setting} but test.interval=open needs tasks of one size", "set it to closed.")
        stream = self._stream("test", self.test_shape, test["seed"], disjoint=False)
        if not isinstance(stream, ClassTaskStream):
            raise UserError(f"{setting} but all tasks of {self.source.name} have one size", "give numbers, no range.")
        return VaryingTaskStream(stream, self._smallest, test["seed"])

    @property
    def _smallest(self) -> tuple[int, int]:
        """The smallest way and shot of meta-test tasks; only `metarun test` takes ranges."""
        task = self.config["task"]
        return ends(task["way"])[0], ends(task["shot"])[0]

    @property
    def train_shape(self) -> TaskShape:
        """The setting of meta-training tasks."""
        train = self.config["train"]
        keys = ("train.way", "train.shot", "train.query", "train.within")
        return TaskShape(train["way"], train["shot"], train["query"], train.get("within"), keys)

    @property
    def test_shape(self) -> TaskShape:
        """The setting of meta-val and meta-test tasks; of ranges, the largest."""
        task, test = self.config["task"], self.config["test"]
        keys = ("task.way", "task.shot", "test.query", "task.within")
        way, shot = ends(task["way"])[1], ends(task["shot"])[1]
        return TaskShape(way, shot, test["query"], task.get("within"), keys)

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
        return min(tasks, self.test_stream.available or tasks), steps

    @cached_property
    def duplicates(self) -> Duplicates | None:
        """Equal examples in the data for training and testing; None in regression, or if this cannot be checked.

        Raises:
            UserError: a class is in two splits under different names, or a meta-test class was used in training.
        """
        data, splits = self.source, self.source.splits
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
        log_contents(self.source.data)
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
        return ACCURACY if self.source.kind == "classification" else MSE

    @property
    def loggers(self) -> dict[str, Logger]:
        """The loggers that `logger` chose, by name."""
        return {name: build(f"logger.{name}", node) for name, node in self.config["logger"].items()}

    def check_head(self, shape: TaskShape) -> None:
        """Raise a UserError if the algorithm's head does not fit the way of the tasks."""
        outputs, targets = self.algorithm.outputs, self.source.outputs
        ways = {shape.way, self._smallest[0]} if shape == self.test_shape else {shape.way}
        needed = ways if targets is None else {targets}
        if outputs is None or needed == {outputs} or (targets is not None and shape.way != 1):
            return  # the stream reports an invalid way in regression
        if targets is not None and targets != 1:
            raise UserError(
                f"this {self.config['chosen']['algo']} has a fixed head for {counted(outputs, 'target')} but "
                f"data={self.source.name} has {targets}",
                "omit `algo.outputs`, or meta-train a run on such data.",
            )
        algo, key = self.config["chosen"]["algo"], source_key(shape.keys[0])
        head = source_key("algo.outputs")
        if key != head and not self.is_trained:
            remedy = f"set `{head}`{set_by(head)} and `{key}` to the same value"
        else:
            remedy = f"meta-train a run with `task.way={shape.way}`"
        raise UserError(
            f"way={'..'.join(map(str, sorted(ways)))}{set_by(key)} but this {algo} has a fixed head for {outputs} "
            "classes",
            f"{remedy}, or use a method without a fixed head, such as protonet.",
        )


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
    key = json.dumps([str(run), relevant], sort_keys=True)
    before = shared.get(key)
    if before is not None and before.loaded:
        parts.loaded, parts.features = before.loaded, before.features
        parts.source, parts.algorithm = before.source, before.algorithm
    shared.clear()  # keep only one in memory
    shared[key] = parts
    return parts
