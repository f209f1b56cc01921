"""Properties of every method in conf/algo with every norm; the folder is listed, so none is missing."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from metarun.algorithms import PolicyMethod
from metarun.algorithms.reptile import interleave_classes
from metarun.backbones import NORMS
from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.instantiate import import_by_name
from metarun.config.schema import register
from metarun.data import Glyphs
from metarun.errors import Interrupted, UserError
from metarun.evaluation.transduction import is_transductive
from metarun.runner.components import Parts
from metarun.runner.made_tasks import training_stream
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.source import task_source
from metarun.training import checkpoint
from metarun.training.cuda_graph import Recorder
from metarun.training.loop import Training
from tests.support.reference import import_learn2learn
from tests.support.waiting import META, pretend_to_pin, waits
from tests.training.test_cuda_graph import Repeats

pytestmark = pytest.mark.slow
REGRESSION = ("attentive_np", "cnp", "transformer_np")  # alone; tests/algorithms/test_neural_processes.py
OTHER_DATA = (*REGRESSION, "prompt")  # texts alone; tests/algorithms/test_prompt.py


def acts(path: Path) -> bool:
    """Whether a method is of reinforcement learning: tests/algorithms/test_maml_rl.py and its neighbours."""
    return issubclass(import_by_name(OmegaConf.load(path).algo["_target_"]), PolicyMethod)


FILES = [path for path in (Path(config_dir()) / "algo").glob("*.yaml") if path.stem not in OTHER_DATA]
ALGOS = sorted(path.stem for path in FILES if not acts(path))
# RelationNet's module compares pairs, and learn2learn passes queries without support: both refuse these two norms.
COMBINATIONS = [
    (algo, norm)
    for algo in ALGOS
    for norm in NORMS
    if norm not in ("support", "tasknorm") or not algo.startswith(("relation", "l2l_"))
]
EVERY = pytest.mark.parametrize(("algo", "norm"), COMBINATIONS)
STEPS = 2


@pytest.fixture(scope="module")
def glyphs():
    return Glyphs().load()


@cache
def composed(algo: str, backbone: str) -> DictConfig:
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = [f"algo={algo}", f"chosen.algo={algo}", "chosen.data=glyphs", f"backbone={backbone}", "device=cpu"]
        return compose("config", [*words, "chosen.backbone=conv4"])


@pytest.fixture
def make(glyphs):
    """Build the parts of a small run in float64, like `metarun train`, with the loaded data set."""

    def build(algo: str, norm: str | None, *overrides: str, backbone: str = "conv4") -> Parts:
        if algo.startswith("l2l_"):
            import_learn2learn()
        words = ["train.way=5", "train.query=2", "train.meta_batch=2", "test.query=3", "precision=float64"]
        words += ["train.iterations=3", "train.validate_every=3", "train.validate_tasks=2", f"test.steps={STEPS}"]
        words += ["backbone.filters=8"] if backbone == "conv4" else []
        words += [] if norm is None else [f"backbone.norm={norm}"]
        config = OmegaConf.merge(composed(algo, backbone), OmegaConf.from_dotlist([*words, *overrides]))
        parts = Parts(resolve(config))
        parts.raw = task_source(glyphs)
        return parts

    return build


def drawn(parts: Parts, count: int = 3) -> TaskBatch:
    return parts.stream("test", parts.test_shape, 0).draw(0, count)


def part_of(tasks: TaskBatch, which: slice, queries: slice = slice(None)) -> TaskBatch:
    part = copy.copy(tasks)
    for name, value in vars(tasks).items():
        if isinstance(value, Tensor):
            chosen = value[which]
            object.__setattr__(part, name, chosen[:, queries] if name.startswith("query") else chosen)
    return part


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.cross
@EVERY
def test_predictions_do_not_depend_on_other_tasks(make, algo, norm):
    parts = make(algo, norm)
    algorithm, tasks = parts.algorithm.eval(), drawn(parts)
    together = algorithm.predict(tasks, STEPS)
    assert not together.requires_grad
    assert together.shape[1:] == (3, 15, 5)
    assert_close(together[:, 1:2], algorithm.predict(part_of(tasks, slice(1, 2)), STEPS))


TO_VECTORISE = {"reptile": ["algo.inner_optimizer=sgd"]}  # its Adam goes from task to task, in a loop
FAST = [(algo, norm) for algo, norm in COMBINATIONS if not algo.startswith("l2l_")]  # those only loop


@pytest.mark.cross
@pytest.mark.parametrize(("algo", "norm"), FAST)
def test_looped_and_vectorised_predictions_agree(make, algo, norm):
    predictions = []
    for how in ("loop", "vectorised"):
        parts = make(algo, norm, f"train.over_tasks={how}")
        predictions.append(parts.algorithm.eval().predict(drawn(parts), STEPS))
    torch.testing.assert_close(*predictions, rtol=1e-10, atol=1e-10)


@pytest.mark.cross
@pytest.mark.parametrize(("algo", "norm"), [(algo, norm) for algo, norm in FAST if norm != "running"])
def test_looped_and_vectorised_losses_and_gradients_agree(make, algo, norm):
    found = []
    for how in ("loop", "vectorised"):
        parts = make(algo, norm, f"train.over_tasks={how}", *TO_VECTORISE.get(algo, []))
        if not parts.algorithm.learns:
            return
        shape = TaskShape(*(parts.config["train"][key] for key in ("way", "shot", "query")))
        loss = parts.algorithm.train().meta_loss(parts.stream("train", shape, 0).draw(0, 3))
        learned = [weight for weight in parts.algorithm.parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(loss, learned, materialize_grads=True)
        found.append((loss, torch.cat([gradient.flatten() for gradient in gradients])))
    (looped, its_gradient), (vectorised, other_gradient) = found
    torch.testing.assert_close(vectorised, looped, rtol=1e-10, atol=0)
    # MetaOptNet inverts its kernel, which is nearly singular without a norm.
    tolerance = 1e-8 if algo == "metaoptnet" else 1e-10
    assert (other_gradient - its_gradient).norm() <= tolerance * its_gradient.norm()


@pytest.mark.cross
@EVERY
def test_the_transduction_audit_agrees_with_predicting_each_query_alone(make, algo, norm):
    parts = make(algo, norm)
    algorithm, tasks = parts.algorithm.eval(), drawn(parts, 1)
    some = range(0, 15, 3)  # of the queries
    together = algorithm.predict(tasks, STEPS)[:, :, some]
    alone = [algorithm.predict(part_of(tasks, slice(None), slice(j, j + 1)), STEPS) for j in some]
    differs = not torch.allclose(torch.cat(alone, 2), together, rtol=1e-6, atol=1e-8)
    assert is_transductive(algorithm, parts.stream("test", parts.test_shape, 0), STEPS) == differs
    has_network = parts.config["algo"].get("inputs") != "raw"
    assert differs == (norm == "batch" and has_network), (
        "only batch statistics make predictions depend on other queries"
    )


NARROW = {"resnet12": (8, 16, 24, 32), "resnet18": (8, 16, 24, 32), "wrn28_10": (24, 32, 40)}  # channels, for speed


def refusal(algo: str, backbone: str, norm: str | None) -> str | None:
    """Return the error of an invalid combination; None if it is valid."""
    if backbone == "mlp" and norm in ("instance", "group", "tasknorm"):
        return rf"backbone\.norm={norm} needs feature maps"
    if algo == "relation" and backbone != "conv4":
        return "algo=relation compares feature maps and .* has none"
    if algo == "relation" and norm in ("support", "tasknorm"):
        return rf"algo\.norm={norm} but the relation module compares pairs"
    if algo.startswith("l2l_") and norm in ("support", "tasknorm"):
        return r"needs the support set but learn2learn passes queries without it"
    if algo == "cavia" and backbone in NARROW and norm == "none":
        return "algo=cavia needs a layer with weight and bias but this backbone has none"
    return None


BACKBONES = ("conv4", "mlp", *NARROW)
THOROUGH = ("maml",)  # with every backbone and norm; the others with every backbone, norms in turn
TRAINED = [
    (algo, backbone, norm)
    for i, algo in enumerate(ALGOS)
    for j, backbone in enumerate(BACKBONES)
    for k, norm in enumerate(NORMS)
    if algo in THOROUGH or k == (i + j) % len(NORMS)
]


@pytest.mark.cross
@pytest.mark.parametrize(("algo", "backbone", "norm"), [*TRAINED, *((algo, "module", None) for algo in ALGOS)])
def test_every_method_trains_on_every_backbone_or_is_refused(make, monkeypatch, algo, backbone, norm):
    if backbone in NARROW:
        monkeypatch.setattr(f"metarun.backbones.{backbone}.WIDTHS", NARROW[backbone])
    words = ["precision=float32", "train.way=2", "task.way=2", "train.query=1", "test.query=1", "train.meta_batch=1"]
    words += ["train.validate_tasks=1", "test.steps=1", *(["train.query=2"] if algo == "simclr" else [])]
    if backbone == "module":
        words.append("backbone.module._target_=tests.algorithms.test_every_method.UsersNetwork")
    parts = make(algo, norm, *words, backbone=backbone)
    if sentence := refusal(algo, backbone, norm):
        with pytest.raises(UserError, match=sentence):
            _ = parts.algorithm
        return
    before = copy.deepcopy(dict(parts.algorithm.named_parameters()))
    assert train(parts).progress.iteration == (3 if parts.algorithm.learns else 0)
    changed = [not torch.equal(before[name], weight) for name, weight in parts.algorithm.named_parameters()]
    assert any(changed) == parts.algorithm.learns
    assert all(weight.isfinite().all() for weight in parts.algorithm.parameters())


UNEQUAL = ["task.shot=3", "task.imbalance=meta_dataset+dirichlet"]


@pytest.mark.sampled
@pytest.mark.parametrize("algo", ALGOS)
def test_every_method_knows_the_class_of_a_support_example_by_its_label(make, algo):
    parts = make(algo, "layer", *UNEQUAL)
    algorithm, tasks = parts.algorithm.eval(), drawn(parts)
    assert (tasks.support_y[0] != tasks.support_y[1]).any(), "each task has shots of its own"
    together = algorithm.predict(tasks, STEPS)
    order = interleave_classes(tasks.support_y[1], tasks.way)  # no longer sorted by class
    mixed = replace(
        part_of(tasks, slice(1, 2)), support_x=tasks.support_x[1:2, order], support_y=tasks.support_y[1:2, order]
    )
    torch.testing.assert_close(algorithm.predict(mixed, STEPS), together[:, 1:2], rtol=1e-6, atol=1e-7)


@pytest.mark.sampled
@pytest.mark.parametrize("algo", ALGOS)
def test_every_method_trains_on_unequal_shots_and_several_sizes_or_is_refused(make, algo):
    sizes = ["train.shot=1..3"] + (["train.way=3..5"] if "outputs" not in composed(algo, "conv4").algo else [])
    parts = make(algo, None, *UNEQUAL, *sizes, "train.meta_batch=3")
    train_stream, val = parts.stream("train", parts.train_shape, 0), parts.stream("val", parts.test_shape, 0)
    if not parts.algorithm.splittable:
        with pytest.raises(UserError, match=r"train.shot=1..3 but .* processes a meta-batch as a whole"):
            Training(parts.algorithm, parts.schedule, train_stream, val)
        train_stream = parts.stream("train", parts.test_shape, 0)
    training = Training(parts.algorithm, parts.schedule, train_stream, val)
    training.run(lambda: None, [], lambda: None)
    assert all(weight.isfinite().all() for weight in parts.algorithm.parameters())


class UsersNetwork(torch.nn.Module):
    """A user's network."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(1, 8, 5, stride=3)
        self.norm = torch.nn.GroupNorm(2, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.convolution(x)).relu().mean((2, 3))


def training_of(parts: Parts, recorder: Recorder | None = None) -> Training:
    val = parts.stream("val", parts.test_shape, 0)
    train_stream = training_stream(parts, "train", parts.train_shape, 0)
    return Training(parts.algorithm, parts.schedule, train_stream, val, recorder=recorder)


@pytest.mark.sampled
@pytest.mark.parametrize("how", ["loop", "vectorised"])
@pytest.mark.parametrize("algo", [algo for algo in ALGOS if not algo.startswith("l2l_")])
def test_a_step_of_every_method_does_not_wait_for_a_gpu(make, monkeypatch, algo, how):
    monkeypatch.setattr("metarun.runner.made_tasks.check_tasks", lambda _: None)  # looks at values, once
    pretend_to_pin(monkeypatch)
    words = TO_VECTORISE.get(algo, []) if how == "vectorised" else []
    words = [*words, f"train.over_tasks={how}", "precision=float32", "train.clip_grad=1", "train.shot=1"]
    parts = make(algo, "layer", *words)
    parts.algorithm.to(META)
    parts.device = META
    training = training_of(parts)
    if not parts.algorithm.learns:
        return
    training._step()  # makes the optimiser's state
    with waits() as found:
        training._step()
    assert found == []


@pytest.mark.sampled
@pytest.mark.parametrize("algo", ALGOS)
def test_recorded_steps_of_every_method_are_the_computed_ones(make, algo):
    found = []
    for recorder in (None, Repeats()):
        training = training_of(make(algo, "running", "train.over_tasks=loop", "train.shot=1"), recorder)
        if not training.algorithm.learns:
            return
        for _ in range(3):
            training._step()
        found.append(training.algorithm.state_dict())
    assert recorder.replayed == (0 if algo == "mamlpp" else 3)
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def train(parts: Parts) -> Training:
    training = training_of(parts)
    training.run(lambda: None, [], lambda: None)
    return training


WAYS_TO_TRAIN = {
    "as usual": [],
    "a falling rate": ["train.lr_schedule=cosine", "train.outer_optimizer=sgd", "train.clip_grad=0.01"],
    "bfloat16": ["precision=bf16", "train.lr_schedule=linear", "backbone.norm=running"],
}
STOPPED = [*((algo, "conv4", *way) for algo in ALGOS for way in WAYS_TO_TRAIN.items())]
SEVERAL_SIZES = ["train.way=3..6", "task.shot=1..3", "task.imbalance=meta_dataset+dirichlet", "train.meta_batch=3"]
SIZES = [("protonet", "conv4", "several sizes", SEVERAL_SIZES), ("r2d2", "conv4", "several sizes", SEVERAL_SIZES)]
DROPPING = [("protonet", "resnet12", "DropBlock", ["backbone.keep_rate=0.8"])]


@pytest.mark.cross
@pytest.mark.parametrize(("algo", "backbone", "way", "words"), STOPPED + DROPPING + SIZES)
def test_training_interrupted_after_every_step_gives_the_same_bits(
    make, monkeypatch, tmp_path, algo, backbone, way, words
):
    monkeypatch.setattr("metarun.backbones.resnet12.WIDTHS", NARROW["resnet12"])
    words = ["precision=float32", "train.iterations=5", "train.validate_every=2", *words]
    undisturbed = train(make(algo, None, *words, backbone=backbone))
    processes = 0
    while True:
        training = training_of(make(algo, None, *words, backbone=backbone))
        if processes:
            training.restore(checkpoint.load(tmp_path / "last.pt", "of this run"))
        processes += 1
        torch.manual_seed(processes)  # another process has another random state
        try:
            training.run(lambda: None, [], stop_after_one_step_or_validation(training))
            break
        except Interrupted:
            checkpoint.save(tmp_path / "last.pt", {"run": "of this run", **training.state()})
    assert processes == (9 if training.algorithm.learns else 2), "5 steps and 3 validations"
    assert [bits(state_without_times(each)) for each in (training, undisturbed)] == [
        bits(state_without_times(undisturbed))
    ] * 2


def stop_after_one_step_or_validation(training: Training) -> Callable[[], None]:
    def where() -> tuple[int, int]:
        return training.progress.iteration, len(training.progress.curve)

    start = where()

    def stop() -> None:
        if where() != start:
            raise Interrupted(2)

    return stop


def bits(state: dict) -> dict[str, str]:
    """Return a checksum of each part of a state, so that a failure shows which part differs."""
    return {name: checkpoint.checksum(part) for name, part in state.items()}


def state_without_times(training: Training) -> dict:
    state = checkpoint.snapshot(training.state())
    state["progress"]["seconds"] = 0.0
    for row in state["progress"]["curve"]:
        row["seconds"] = 0.0
    return state
