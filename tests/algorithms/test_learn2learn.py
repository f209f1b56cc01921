"""learn2learn's methods: the same numbers and checkpoints as ours, and one sentence if it is not installed."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from metarun.algorithms import ANIL, MAML, Learn2LearnANIL, Learn2LearnMAML, Learn2LearnMetaSGD, MetaSGD
from metarun.algorithms.learn2learn import importing as importer
from metarun.backbones import MLP, NORMS
from metarun.data import Sinusoid
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.source import task_source
from metarun.training.gradient_check import check_order
from tests.support.gradients import assert_equal_to, make_tasks, meta_gradient, perturbed
from tests.support.reference import import_learn2learn
from tests.support.synthetic import make_conv4

pytestmark = pytest.mark.peers

PAIRS = {
    "maml": (MAML, Learn2LearnMAML, {"inner_lr": 0.3}),
    "anil": (ANIL, Learn2LearnANIL, {"inner_lr": 0.3}),
    "metasgd": (MetaSGD, Learn2LearnMetaSGD, {"inner_lr_min": 0.1, "inner_lr_max": 0.4}),
}
EVERY_PAIR = pytest.mark.parametrize("name", PAIRS)
SMALL = ["train.iterations=3", "train.validate_every=3", "train.validate_tasks=6", "test.tasks=8", "backbone.filters=8"]


@pytest.fixture(autouse=True)
def _learn2learn():
    import_learn2learn()


def make_pair(name, norm="batch", order=2, steps=1, backbone=None, outputs=5):
    """Return our method and learn2learn's, with the same weights."""
    our_class, their_class, rates = PAIRS[name]
    torch.manual_seed(0)
    arguments = {"outputs": outputs, "inner_steps": steps, "order": order, **rates}
    ours = perturbed(our_class(backbone or make_conv4(norm), **arguments))
    theirs = their_class(copy.deepcopy(ours.backbone), **arguments).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def assert_same_numbers(ours, theirs, tasks):
    torch.testing.assert_close(theirs.meta_loss(tasks), ours.meta_loss(tasks), rtol=1e-9, atol=0)
    assert_equal_to(meta_gradient(theirs, tasks), meta_gradient(ours, tasks))
    torch.testing.assert_close(theirs.eval().predict(tasks, 4), ours.eval().predict(tasks, 4), rtol=1e-9, atol=1e-9)
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(theirs.get_buffer(name), buffer, rtol=1e-9, atol=0)


@EVERY_PAIR
@pytest.mark.cross
@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm not in ("support", "tasknorm")])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_loss_meta_gradient_predictions_and_statistics_equal_ours(steps, order, norm, name):
    assert_same_numbers(*make_pair(name, norm, order, steps), make_tasks())


@EVERY_PAIR
def test_regression_equals_ours(name):
    stream = task_source(Sinusoid()).stream("train", TaskShape(1, 10, 10), 0, torch.device("cpu"), torch.float64)
    assert_same_numbers(*make_pair(name, steps=2, backbone=MLP((1,), [40, 40]), outputs=1), stream.draw(0, 3))


@EVERY_PAIR
@pytest.mark.parametrize("order", [1, 2])
def test_the_order_is_correct_and_can_be_changed(order, name):
    _, theirs = make_pair(name, order=order)
    tasks = make_tasks()
    check_order(theirs, tasks)
    gradient = meta_gradient(theirs, tasks)
    theirs.order = 3 - order
    assert not torch.equal(meta_gradient(theirs, tasks), gradient)


@EVERY_PAIR
def test_prediction_builds_no_graph_and_changes_nothing(name):
    _, theirs = make_pair(name)
    theirs.eval()
    before, tasks = copy.deepcopy(theirs.state_dict()), make_tasks()
    predictions = theirs.predict(tasks, 3)
    assert predictions.shape == (4, 2, 10, 5)
    assert not predictions.requires_grad
    assert not torch.equal(predictions[0], predictions[1]), "no_grad must not stop the adaptation"
    torch.testing.assert_close(theirs.predict(tasks, 0), predictions[:1])
    assert all(torch.equal(before[key], value) for key, value in theirs.state_dict().items())
    assert all(parameter.grad is None for parameter in theirs.parameters())


@EVERY_PAIR
@pytest.mark.parametrize("norm", ["support", "tasknorm"])
def test_norms_that_need_the_support_set_are_refused(name, norm):
    _, their_class, rates = PAIRS[name]
    with pytest.raises(UserError, match=r"needs the support set but learn2learn passes queries without"):
        their_class(make_conv4(norm), outputs=5, inner_steps=1, **rates)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("maml", {"order": 3}, r"algo\.order=3 is not 1 \(first-order\) or 2 \(exact\)"),
        ("anil", {"inner_steps": 0}, r"algo\.inner_steps=0 but it must be at least 1"),
        ("metasgd", {"inner_lr_min": 0.5}, r"algo\.inner_lr_min=0\.5 is above algo\.inner_lr_max=0\.4"),
    ],
)
def test_invalid_arguments_are_refused(name, arguments, message):
    _, their_class, rates = PAIRS[name]
    with pytest.raises(UserError, match=message):
        their_class(make_conv4(), **{"outputs": 5, "inner_steps": 1, **rates, **arguments})


def rows() -> dict[tuple[str, bool], dict]:
    """Return the rows under results/ by their algo and whether they were trained."""
    read = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    return {(row["algo"], "trained_by" not in row): row for row in read}


@pytest.mark.slow
@EVERY_PAIR
def test_whole_runs_equal_ours_and_each_tests_the_checkpoint_of_the_other(metarun, name):
    for algo in (name, f"l2l_{name}"):
        assert metarun("train", f"algo={algo}", "precision=float64", *SMALL)[::2] == (0, "")
    ours, theirs = rows()[name, True], rows()[f"l2l_{name}", True]
    for key in ("order", "norm", "transductive", "steps", "parameters", "stream_hash", "accuracy_by_step"):
        assert theirs[key] == ours[key], key
    assert theirs["loss_by_step"] == pytest.approx(ours["loss_by_step"], rel=1e-7)  # after three steps of Adam
    rate = (
        [] if name == "metasgd" else ["algo.inner_lr=0.4"]
    )  # the recipe's, which a test with another head does not have
    for trained, algo in ((ours, f"l2l_{name}"), (theirs, name)):
        assert metarun("test", f"run={trained['id']}", f"algo={algo}", *rate)[::2] == (0, "")
        tested = rows()[algo, False]
        assert (tested["trained_by"], tested["trained_algo"]) == (trained["id"], trained["algo"])
        assert tested["loss_by_step"] == pytest.approx(trained["loss_by_step"], rel=1e-9)


@EVERY_PAIR
@pytest.mark.cross
@pytest.mark.parametrize("missing", ["learn2learn", "torchvision"])
def test_a_missing_learn2learn_is_reported_in_one_sentence(metarun, monkeypatch, missing, name):
    importer.import_learn2learn.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)  # how Python marks a module that cannot be imported
    code, _, complaint = metarun("train", f"algo=l2l_{name}", *SMALL)
    assert code == 2
    assert complaint.startswith(f"metarun: error: learn2learn cannot be imported (import of {missing} halted")
    assert f"run `scripts/install_learn2learn.sh {sys.prefix}`" in complaint
    assert complaint.count("\n") == 1


def in_a_new_process(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_learn2learn_is_only_imported_when_used():
    used = "import sys, metarun.runner.train, metarun.cli.doctor; from metarun.algorithms import Learn2LearnMAML"
    assert (
        in_a_new_process(f"{used}; sys.exit('learn2learn' in sys.modules or 'torchvision' in sys.modules)").returncode
        == 0
    )


@pytest.mark.slow
def test_importing_learn2learn_prints_nothing():
    done = in_a_new_process(
        "from metarun.algorithms.learn2learn.importing import import_learn2learn; import_learn2learn().algorithms.MAML"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
