"""Pre-training of the transfer methods on all meta-train classes, and their properties at meta-test."""

import copy
import dataclasses
import warnings

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms import Baseline, BaselinePP, FineTune, NearestCentroid, SimpleShot
from metarun.algorithms.baselinepp import cosine_logits
from metarun.algorithms.pretraining import pretraining_batch
from metarun.backbones import NORMS
from metarun.data import Sinusoid
from metarun.errors import UserError
from metarun.evaluation.transduction import is_transductive
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.source import task_source
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.reference import import_sklearn
from tests.support.synthetic import make_conv4, make_dataset, make_stream, run_by
from tests.training.test_loop import SCHEDULE, Notes

CLASSES = 12  # of make_dataset
PRETRAINED = {"baseline": Baseline, "baselinepp": BaselinePP, "simpleshot": SimpleShot, "finetune": FineTune}
METHODS = [*PRETRAINED, "raw", "features"]


def make(method, norm="layer", how="auto"):
    torch.manual_seed(0)
    backbone = make_conv4(norm)
    floors = ("raw", "features")
    made = NearestCentroid(backbone, method) if method in floors else PRETRAINED[method](backbone, CLASSES)
    for parameter in made.parameters():  # scales of 1 and shifts of 0 would hide bugs
        parameter.data += 0.1 * torch.randn_like(parameter)
    return run_by(how, made).double().eval()


def make_tasks(way=5, shot=2, count=3) -> TaskBatch:
    return make_stream(way, shot, query=3, dtype=torch.float64).draw(0, count)


def test_tasks_contain_the_classes_of_their_labels():
    data = make_dataset(sizes=(7, 20, 5, 9, 30, 6, 11, 12))
    stream = task_source(data).stream("train", TaskShape(4, 2, 3), 0, torch.device("cpu"), torch.float64)
    tasks = stream.draw(3, 20)
    assert tasks.classes.shape == (20, 4)
    assert tasks.classes.dtype == torch.int64
    examples = data.splits["train"]
    for t in range(20):
        for x, label in zip(tasks.query_x[t], tasks.query_y[t], strict=True):
            c = int(tasks.classes[t, label])
            members = torch.from_numpy(examples.values[examples.offsets[c] : examples.offsets[c + 1]] / 255)
            assert (members == x).flatten(1).all(1).any()


def test_a_pretraining_batch_contains_every_example_with_its_class():
    tasks = make_tasks(way=3, shot=2, count=4)
    x, classes = pretraining_batch(tasks)
    assert x.shape == (4 * 3 * 5, 1, 16, 16)
    assert torch.equal(x[15 + 2], tasks.support_x[1, 2])
    assert classes[15 + 2] == tasks.classes[1, tasks.support_y[1, 2]]
    assert torch.equal(x[15 + 6 + 4], tasks.query_x[1, 4])
    assert classes[15 + 6 + 4] == tasks.classes[1, tasks.query_y[1, 4]]


def test_pretraining_refuses_tasks_without_classes():
    tasks = (
        task_source(Sinusoid()).stream("train", TaskShape(1, 4, 3), 0, torch.device("cpu"), torch.float64).draw(0, 2)
    )
    with pytest.raises(UserError, match="pre-training needs classes but these tasks have none"):
        pretraining_batch(tasks)


@pytest.mark.parametrize("method", ["baseline", "simpleshot", "finetune"])
def test_the_loss_is_the_cross_entropy_among_all_meta_train_classes(method):
    made, tasks = make(method), make_tasks()
    x, classes = pretraining_batch(tasks)
    expected = F.cross_entropy(made.classifier(made.backbone(x)), classes)
    torch.testing.assert_close(made.meta_loss(tasks), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", PRETRAINED)
def test_smoothed_labels_give_the_other_classes_their_part(method):
    made, tasks = make(method), make_tasks()
    x, classes = pretraining_batch(tasks)
    made.label_smoothing = 0.1
    features = made.backbone(x)
    logits = cosine_logits(features, (made.directions, made.learned_scale)) if method == "baselinepp" else None
    logits = made.classifier(features) if logits is None else logits
    # torch gives the label a part too: 11 of 12 parts go to the other classes
    expected = F.cross_entropy(logits, classes, label_smoothing=0.1 * CLASSES / (CLASSES - 1))
    torch.testing.assert_close(made.meta_loss(tasks), expected, rtol=1e-12, atol=0)


@pytest.mark.cross
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
def test_looped_and_vectorised_agree(method, norm):
    tasks = make_tasks()
    looped, vectorised = (make(method, norm, how).predict(tasks, 3) for how in ("loop", "vectorised"))
    assert not looped.requires_grad
    assert looped.shape == (4 if method in ("baselinepp", "finetune") else 1, 3, 15, 5)
    torch.testing.assert_close(vectorised, looped, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_permuting_labels_permutes_predictions(method):
    made, tasks = make(method), make_tasks()
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = dataclasses.replace(tasks, support_y=permutation[tasks.support_y])
    torch.testing.assert_close(
        made.predict(permuted, 3)[..., permutation], made.predict(tasks, 3), rtol=1e-9, atol=1e-10
    )


@pytest.mark.cross
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
def test_only_batch_statistics_make_it_transductive(method, norm):
    assert is_transductive(make(method, norm), make_stream(), 2) == (norm == "batch" and method != "raw")


@pytest.mark.slow
@pytest.mark.parametrize("method", PRETRAINED)
@pytest.mark.parametrize("norm", ["batch", "running"])
def test_pretraining_lowers_its_loss(method, norm):
    torch.manual_seed(0)
    made = PRETRAINED[method](make_conv4(norm), CLASSES)
    streams = make_stream(8, 1, 1, "train"), make_stream(5, 1, 3, "val")
    training = Training(
        made, Schedule(**{**SCHEDULE, "iterations": 60, "validate_every": 30, "lr_decay": 1.0}), *streams
    )
    Notes(training).run()
    losses = [row["loss"] for row in training.progress.curve if row["split"] == "train"]
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize("inputs", ["raw", "features"])
def test_a_floor_is_validated_once_and_not_trained(inputs):
    made = NearestCentroid(make_conv4("running"), inputs)
    before = copy.deepcopy(made.state_dict())
    training = Training(made, Schedule(**SCHEDULE), make_stream(), make_stream(split="val"))
    notes = Notes(training).run()
    assert [(iteration, best) for iteration, _, best in notes.validations] == [(0, True)]
    assert [row["split"] for row in training.progress.curve] == ["val"]
    assert training.finished
    assert all(torch.equal(before[name], tensor) for name, tensor in made.state_dict().items())
    resumed = Training(made, Schedule(**SCHEDULE), make_stream(), make_stream(split="val"))
    resumed.restore(notes.saved[-1])
    assert resumed.finished


def test_training_a_floor_is_refused():
    with pytest.raises(UserError, match="algo=nearest_centroid has nothing to train"):
        make("raw").meta_loss(make_tasks())


@pytest.mark.parametrize("inputs", ["raw", "features"])
def test_a_floor_equals_scikit_learns_nearest_centroid(inputs):
    sklearn = import_sklearn()
    floor, tasks = make(inputs), make_tasks(shot=4)
    for t in range(len(tasks)):
        represent = floor.backbone if inputs == "features" else torch.nn.Flatten()
        support, query = (represent(x[t]).detach().numpy() for x in (tasks.support_x, tasks.query_x))
        with warnings.catch_warnings():  # it warns about features that are always zero
            warnings.simplefilter("ignore")
            theirs = sklearn.neighbors.NearestCentroid().fit(support, tasks.support_y[t].numpy()).predict(query)
        assert floor.predict(tasks, 0)[0, t].argmax(1).tolist() == theirs.tolist()


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        (Baseline, {"cost": 0.0}, r"algo\.cost=0\.0 but it must be above 0"),
        (BaselinePP, {"scale": 0.0}, r"algo\.scale=0\.0 but it must be above 0"),
        (BaselinePP, {"inner_lr": -1.0}, r"algo\.inner_lr=-1\.0 but it must be above 0"),
        (SimpleShot, {"transform": "CL3N"}, r"algo\.transform='CL3N' is not one of UN, L2N, CL2N"),
        (FineTune, {"optimizer": "lbfgs"}, r"algo\.optimizer='lbfgs' is not one of sgd, adam"),
        (Baseline, {"label_smoothing": 1.0}, r"algo\.label_smoothing=1\.0 but it must be at least 0 and below 1"),
        (FineTune, {"inner_lr": 0.0}, r"algo\.inner_lr=0\.0 but it must be above 0"),
    ],
)
def test_invalid_arguments_are_refused(method, arguments, message):
    with pytest.raises(UserError, match=message):
        method(make_conv4(), CLASSES, **arguments)
    with pytest.raises(UserError, match=r"algo\.inputs='pixels' is not one of raw, features"):
        NearestCentroid(make_conv4(), "pixels")
