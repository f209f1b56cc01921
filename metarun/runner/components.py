"""From a resolved config to the objects it stands for."""

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
from metarun.config.keys_in_force import followed, knob, set_by
from metarun.config.run_id import declared_paths
from metarun.config.schema import Config
from metarun.data import Examples, Split
from metarun.data.contents import tell_contents
from metarun.data.duplicates import Duplicates, find_duplicates, log_duplicates
from metarun.errors import UserError
from metarun.loggers import Logger
from metarun.results.metrics import ACCURACY, MSE, Metric
from metarun.runner.data_loading import load_data, made_another
from metarun.runner.memory_check import check_room_for_network, check_room_for_tasks
from metarun.system.durations import parse_duration
from metarun.tasks.batch import TaskShape
from metarun.tasks.stream import TaskSource, TaskStream
from metarun.tasks.vectorize import check_how
from metarun.training.distributed import own_gpu
from metarun.training.schedule import MOST_TASKS, Schedule

log = logging.getLogger(__name__)


@dataclass
class Parts:
    """The objects that a resolved config stands for, each built when first asked for.

    Args:
        config: the resolved one.
        loaded: the checksum of the weights that are to be tested, once the algorithm holds them.
        features: of splits that the checkpoint's network has embedded, by the split's identity.
        of_a_run: whether what is built is the algorithm of a finished run, which can be made no other.
        trained_on: returns the resolved `data` that the checkpoint to be tested was trained on; and those data's hash.
    """

    config: Config
    loaded: str | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    trained_on: tuple[Callable[[], Config], str] | None = None
    of_a_run: bool = False

    @cached_property
    def device(self) -> torch.device:
        """The device that `device` names."""
        name = self.config["device"]
        if name == "auto":
            name = own_gpu() if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
            if device.type == "meta":
                raise RuntimeError("it holds no numbers")
            torch.empty(0, device=device)
        except Exception as error:  # of whatever back end it asks for
            reason = str(error).partition("\n")[0].rstrip(".")
            raise UserError(f"device={name} cannot be used here ({reason})", "use device=cpu or device=auto.") from None
        return device

    @cached_property
    def dtype(self) -> torch.dtype:
        """The numbers of weights and inputs that `precision` names; bf16 says only what a network makes of them."""
        formats = {"float32": torch.float32, "bf16": torch.float32, "float64": torch.float64}
        if self.config["precision"] not in formats:
            raise UserError(f"precision={self.config['precision']} is not one of {', '.join(formats)}.")
        return formats[self.config["precision"]]

    @cached_property
    def source(self) -> TaskSource:
        """The data, found or made, and cached for the next time."""
        return load_data(self.config["data"])

    @property
    def data_hash(self) -> str:
        """What the data are known by: equal hashes mean equal examples, or equal functions."""
        return self.source.hash

    @cached_property
    def algorithm(self) -> Algorithm:
        """The algorithm around its backbone, with the initial weights that `seed` stands for."""
        if not 0 <= self.config["seed"] < 2**63:
            asked = f"seed={self.config['seed']}{set_by('seed')}"
            raise UserError(f"{asked} but seeds go from 0 to 2^63 - 1", "choose another `seed`.")
        check_room_for_network(self._make_algorithm)
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
        backbone = build("backbone", self.config["backbone"], **self._inputs_of_backbone)
        is_one = isinstance(backbone, nn.Module) and hasattr(backbone, "features")
        self._check_made("backbone", backbone, is_one, "torch.nn.Module with `features`")
        if declared_paths(self.config["backbone"]):
            omit_frozen_weights(backbone)
        if self.config["precision"] == "bf16":
            compute_in_bfloat16(backbone)
        outputs = self.config["algo"].get("outputs")
        if isinstance(outputs, int) and outputs < 1:
            asked = f"algo.outputs={outputs}{set_by('algo.outputs')}"
            raise UserError(f"{asked} but a head has at least one output", "leave it at the tasks' way.")
        node = self.config["algo"]
        chooses_itself = takes("algo", node, "over_tasks")
        given = node if chooses_itself else {key: value for key, value in node.items() if key != "over_tasks"}
        algorithm: Algorithm = build("algo", given, backbone=backbone, **self._known_to_the_data)
        self._check_made("algo", algorithm, isinstance(algorithm, Algorithm), "metarun.algorithms.Algorithm")
        if not chooses_itself:
            self._set_how(algorithm)
        return algorithm

    @property
    def _inputs_of_backbone(self) -> dict[str, Any]:
        """What the data say of an example: its shape, or its fields where the constructor takes `inputs`."""
        inputs = self.source.inputs
        if takes("backbone", self.config["backbone"], "inputs"):
            return {"inputs": inputs}
        fields = ", ".join(f"{name} ({spec.kind})" for name, spec in inputs.items())
        if len(inputs) > 1 or any(spec.kind in ("ids", "mask") for spec in inputs.values()):
            raise UserError(
                f"backbone={self.config['chosen']['backbone']} takes one array of numbers but an example of "
                f"data={self.source.name} has the fields {fields}",
                "choose a backbone whose constructor takes `inputs`.",
            )
        return {"input_shape": next(iter(inputs.values())).shape}

    def _set_how(self, algorithm: Algorithm) -> None:
        """Say how tasks are run, unless the method runs them in one way only."""
        # Configs that were made before the method was told so by the run have it among the method's arguments.
        how = self.config["algo"].get("over_tasks", self.config["train"].get("over_tasks", "auto"))
        check_how(how)
        if algorithm.how == "auto":
            algorithm.how = how
        elif how not in ("auto", algorithm.how):
            raise UserError(
                f"train.over_tasks={how} but {type(algorithm).__name__} takes one task after the other",
                "set `train.over_tasks=loop`, or choose another method, such as algo=maml.",
            )

    def _check_made(self, key: str, made: object, is_one: bool, wanted: str) -> None:
        if not is_one:
            raise made_another(key, self.config[key]["_target_"], made, wanted)

    @property
    def _known_to_the_data(self) -> dict[str, int]:
        """What only the data can tell an algorithm, if its constructor asks for it."""
        asks = takes("algo", self.config["algo"], "train_classes") and "train_classes" not in self.config["algo"]
        if not asks:
            return {}
        if self.source.splits is None:
            raise UserError(
                f"algo={self.config['chosen']['algo']} is trained to tell the meta-train classes apart but "
                f"data={self.source.name} is regression and has none",
                "choose another `algo` (maml) or another `data`.",
            )
        return {"train_classes": len(self.source.splits["train"].class_names)}

    def stream(self, split: Split, shape: TaskShape, seed: int) -> TaskStream:
        """The tasks of a split."""
        return self._stream(split, shape, seed, disjoint=False)

    def _stream(self, split: Split, shape: TaskShape, seed: int, disjoint: bool) -> TaskStream:
        stream = self.source.stream(split, shape, seed, self.device, self.dtype, disjoint)
        check_room_for_tasks(1, shape, self.source.inputs)
        return stream

    @cached_property
    def test_stream(self) -> TaskStream:
        """The meta-test tasks, which `test.interval` may ask to share no example."""
        test = self.config["test"]
        interval = test.get("interval", "closed")  # runs that were made before there was such a key are without it
        if interval not in ("closed", "open"):
            asked = f"test.interval='{interval}'{set_by('test.interval')}"
            raise UserError(f"{asked} is not one of closed, open.")
        return self._stream("test", self.test_shape, test["seed"], disjoint=interval == "open")

    @property
    def train_shape(self) -> TaskShape:
        """The setting that is meta-trained on."""
        train = self.config["train"]
        return TaskShape(train["way"], train["shot"], train["query"], ("train.way", "train.shot", "train.query"))

    @property
    def test_shape(self) -> TaskShape:
        """The setting that meta-val and meta-test judge by."""
        task, test = self.config["task"], self.config["test"]
        return TaskShape(task["way"], task["shot"], test["query"], ("task.way", "task.shot", "test.query"))

    @cached_property
    def judging(self) -> tuple[int, int]:
        """How many meta-test tasks, at most as many as there are, and how many adaptation steps on each."""
        tasks, steps = self.config["test"]["tasks"], self.config["test"]["steps"]
        if tasks < 1:
            raise UserError(f"test.tasks={tasks} but it must be at least 1", f"raise {knob('test.tasks', tasks)}.")
        if steps < 0:
            raise UserError(f"test.steps={steps} but it cannot be negative", f"raise {knob('test.steps', steps)}.")
        check_steps("test.steps", steps)
        if tasks > MOST_TASKS:
            lower = knob("test.tasks", tasks)
            raise UserError(f"test.tasks={tasks:,} but at most {MOST_TASKS:,} are judged", f"lower {lower}.")
        return min(tasks, self.test_stream.available or tasks), steps

    @cached_property
    def duplicates(self) -> Duplicates | None:
        """Equal examples in what is learned from and what is judged on; None in regression, or if that is not known.

        Raises:
            UserError: a class stands in two splits under two names, or a class to be tested on was trained on.
        """
        data, splits = self.source, self.source.splits
        if splits is None:
            return None
        if self.trained_on is None or not self._is_other_data:
            return find_duplicates(data.name, data.hash, lambda: splits)
        node_of, trained_hash = self.trained_on

        def load() -> dict[Split, Examples] | None:
            try:
                return {**(load_data(node_of()).splits or {}), "test": splits["test"]}
            except UserError as error:
                log.warning("whether these examples were seen in training is not known: %s", error)
                return None

        what = f"what was trained and is tested on, {data.name},"
        return find_duplicates(what, f"{trained_hash}|{data.hash}", load, test_only=True)

    @property
    def _is_other_data(self) -> bool:
        """Whether a checkpoint is tested on other data than it was trained on."""
        return self.trained_on is not None and self.trained_on[1] != self.source.hash

    def check_examples(self) -> None:
        """Tell what the data hold; refuse a class to be tested on that is trained on; tell of other equal examples."""
        tell_contents(self.source.data)
        if self.duplicates is not None:
            log_duplicates(self.source.name, self.duplicates, self._is_other_data)

    @cached_property
    def schedule(self) -> Schedule:
        """The outer loop's schedule."""
        train = {key: value for key, value in self.config["train"].items() if key in Schedule.__dataclass_fields__}
        _, steps = self.judging
        for key in ("time_budget", "checkpoint_every"):
            length = train.get(key)
            train[key] = None if length is None else parse_duration(f"train.{key}", length)
        return Schedule(**train, validate_steps=steps)

    @property
    def metric(self) -> Metric:
        """What a run on these data is judged by."""
        return ACCURACY if self.source.kind == "classification" else MSE

    @property
    def loggers(self) -> dict[str, Logger]:
        """The loggers that `logger` chose, by name."""
        return {name: build(f"logger.{name}", node) for name, node in self.config["logger"].items()}

    def check_head(self, shape: TaskShape) -> None:
        """Raise a UserError if the algorithm's head has another size than such tasks need."""
        outputs = self.algorithm.outputs
        if outputs is None or outputs == shape.way or (self.source.kind == "regression" and shape.way != 1):
            return  # of the last the stream says that it is no setting for a function
        algo, key = self.config["chosen"]["algo"], followed(shape.keys[0])
        head = followed("algo.outputs")
        if key != head and not self.of_a_run:
            equal = f"give `{head}`{set_by(head)} and `{key}` one value"
        else:
            equal = f"meta-train one with `task.way={shape.way}`"
        raise UserError(
            f"way={shape.way}{set_by(key)} but this {algo} has a head for {outputs} classes and can be given no other",
            f"{equal}, or use a method without a fixed head, such as protonet.",
        )


_OF_ONE_TEST = ("task", "test", "audit", "force", "retry_failed", "results_dir", "chosen")


def parts_to_test(config: Config, run: Path, shared: dict[str, Parts]) -> Parts:
    """Return the parts for a test of a run's checkpoint.

    Args:
        config: the resolved one.
        run: whose checkpoint it is.
        shared: what the test before this one loaded, which is used again where it is the same; holds this test's then.
    """
    parts = Parts(config)
    alike = {key: value for key, value in config.items() if key not in _OF_ONE_TEST}
    key = json.dumps([str(run), alike], sort_keys=True)
    before = shared.get(key)
    if before is not None and before.loaded:
        parts.loaded, parts.features = before.loaded, before.features
        parts.source, parts.algorithm = before.source, before.algorithm
    shared.clear()  # the memory holds one
    shared[key] = parts
    return parts
