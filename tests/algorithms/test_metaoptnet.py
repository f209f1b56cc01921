import copy

import pytest
import torch
import torch.nn.functional as F
from sklearn.svm import SVC, LinearSVC

from metarun.algorithms import MetaOptNet
from metarun.algorithms.solvers.crammer_singer import dual_coefficients
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.synthetic import make_conv4, make_stream, run_by


def make_metaoptnet(norm="layer", how="auto", **options) -> MetaOptNet:
    torch.manual_seed(0)
    return run_by(how, MetaOptNet(make_conv4(norm), **{"init_scale": 3.0, **options})).double()


def make_tasks(count=3, way=5, shot=2) -> TaskBatch:
    return make_stream(way, shot, query=3, dtype=torch.float64).draw(0, count)


def make_problem(way, shot, features, seed=0, scale=1.0):
    """Return support features around a centre per class, labels, and queries."""
    torch.manual_seed(seed)
    labels = torch.arange(way).repeat_interleave(shot)
    support = torch.randn(way * shot, features).double() + torch.randn(way, features).double()[labels]
    return scale * support, labels, scale * torch.randn(10, features).double()


def crammer_singer(support, labels, c) -> LinearSVC:
    machine = LinearSVC(multi_class="crammer_singer", fit_intercept=False, C=c, tol=1e-12, max_iter=1_000_000)
    return machine.fit(support.numpy(), labels.numpy())


@pytest.mark.cross
@pytest.mark.parametrize("c", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize(
    ("way", "shot", "features", "scale"),
    [(5, 1, 20, 1.0), (5, 4, 32, 1.0), (5, 4, 32, 30.0), (3, 10, 8, 1.0), (10, 1, 30, 1.0), (4, 3, 200, 0.1)],
)
def test_decision_values_match_scikit_learn(way, shot, features, scale, c):
    support, labels, query = make_problem(way, shot, features, scale=scale)
    alpha = dual_coefficients(support @ support.T, labels, way, c)
    theirs = torch.from_numpy(crammer_singer(support, labels, c).decision_function(query.numpy()))
    torch.testing.assert_close(query @ support.T @ alpha, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_with_two_classes_it_equals_the_binary_svm(c):
    # Its two weight vectors sum to zero, so |w_0|^2 + |w_1|^2 = |w_1 - w_0|^2 / 2: the binary machine with twice the C.
    # SVC has an intercept; mirroring the problem, (x, y) and (-x, -y), makes it zero and halves C.
    support, labels, query = make_problem(2, 6, 4)
    alpha = dual_coefficients(support @ support.T, labels, 2, c)
    ours = (query @ support.T @ alpha).diff(dim=1).squeeze(1)
    mirrored = torch.cat([support, -support]).numpy(), torch.cat([labels, 1 - labels]).numpy()
    theirs = SVC(kernel="linear", C=c, tol=1e-9).fit(*mirrored).decision_function(query.numpy())
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=1e-4, atol=1e-4)


def test_predictions_match_scikit_learn_scaled():
    metaoptnet, tasks = make_metaoptnet().eval(), make_tasks(2, 4, 3)
    for t in range(2):
        support, query = (metaoptnet.backbone(x[t]).detach() for x in (tasks.support_x, tasks.query_x))
        theirs = crammer_singer(support, tasks.support_y[t], 0.1).decision_function(query.numpy())
        expected = 3.0 * torch.from_numpy(theirs)
        torch.testing.assert_close(metaoptnet.predict(tasks, 0)[0, t], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("c", [0.02, 0.1, 1.0])
@pytest.mark.parametrize(("way", "shot", "features"), [(3, 2, 10), (3, 3, 12), (4, 1, 6)])
def test_gradients_match_finite_differences(way, shot, features, c):
    support, labels, query = make_problem(way, shot, features)

    def decision_values(support, query):
        return query @ support.T @ dual_coefficients(support @ support.T, labels, way, c)

    inputs = (support.requires_grad_(), query[:2].requires_grad_())
    assert torch.autograd.gradcheck(decision_values, inputs, eps=1e-5, atol=1e-5, rtol=1e-5)


def test_the_coefficients_satisfy_their_constraints():
    support, labels, _ = make_problem(5, 5, 12)
    alpha = dual_coefficients(support @ support.T, labels, 5, 0.05)
    bound = 0.05 * F.one_hot(labels, 5)
    assert alpha.sum(1).abs().max() < 1e-8
    assert (alpha - bound).max() < 1e-8
    at_bound = ((alpha - bound).abs() < 1e-12).double().mean().item()
    assert 0.2 < at_bound < 0.9, "these tests need both kinds of coefficients"


def test_linearly_dependent_examples_have_a_solution():
    support, labels, query = make_problem(3, 4, 5)
    support = torch.cat([support, support]).requires_grad_()
    labels = torch.cat([labels, labels])
    values = query @ support.T @ dual_coefficients(support @ support.T, labels, 3, 0.1)
    theirs = torch.from_numpy(crammer_singer(support.detach(), labels, 0.1).decision_function(query.numpy()))
    torch.testing.assert_close(values, theirs, rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad(values.square().sum(), support)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_looped_and_vectorised_agree(norm):
    tasks, found = make_tasks(shot=1), []
    for how in ("loop", "vectorised"):
        metaoptnet = make_metaoptnet(norm, how, c=1.0)
        gradients = torch.autograd.grad(metaoptnet.meta_loss(tasks), metaoptnet.parameters())
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    assert ((found[0] - found[1]).norm() / found[0].norm()).item() < 1e-10


def test_label_smoothing_is_shared_among_the_other_classes():
    tasks = make_tasks()
    logits = make_metaoptnet().predict(tasks, 0)[0].flatten(0, 1)
    targets = F.one_hot(tasks.query_y.flatten(), 5).double()
    expected = F.cross_entropy(logits, 0.9 * targets + 0.1 / 4 * (1 - targets))
    torch.testing.assert_close(make_metaoptnet(label_smoothing=0.1).meta_loss(tasks), expected)


def test_permuting_labels_permutes_predictions():
    metaoptnet, tasks = make_metaoptnet(), make_tasks(shot=1)
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = copy.copy(tasks)
    object.__setattr__(permuted, "support_y", permutation[tasks.support_y])
    torch.testing.assert_close(
        metaoptnet.predict(permuted, 0)[..., permutation], metaoptnet.predict(tasks, 0), rtol=1e-8, atol=1e-9
    )


def test_predictions_do_not_depend_on_other_tasks():
    metaoptnet, tasks = make_metaoptnet("batch", "vectorised"), make_tasks(4)
    alone = TaskBatch(*(t[2:3] for t in (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)), tasks.way)
    torch.testing.assert_close(metaoptnet.predict(tasks, 0)[:, 2:3], metaoptnet.predict(alone, 0), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_meta_training_in_32_bits_lowers_the_loss():
    torch.manual_seed(0)
    metaoptnet, stream = MetaOptNet(make_conv4("running"), c=1.0), make_stream(5, 2)
    before = metaoptnet.meta_loss(stream.draw(0, 20)).item()
    schedule = Schedule(20, None, 4, 0.01, 1.0, 100, None, 20, 8, 0)
    training = Training(metaoptnet, schedule, stream, make_stream(split="val"))
    for _ in range(20):
        training._step()
    assert metaoptnet.meta_loss(stream.draw(0, 20)).item() < before
    assert metaoptnet.predict(stream.draw(0, 2), 0).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c": 0.0}, r"algo\.c=0\.0 but it must be above 0"),
        ({"init_scale": 0.0}, r"algo\.init_scale=0\.0 but it must be above 0"),
        ({"label_smoothing": 1.0}, r"algo\.label_smoothing=1\.0 but it must be at least 0 and below 1"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_metaoptnet(**options)
