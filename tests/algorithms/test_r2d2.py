import copy

import pytest
import torch
from sklearn.linear_model import Ridge

from metarun.algorithms import R2D2
from metarun.algorithms.r2d2 import ridge_regression
from metarun.backbones import MLP
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.synthetic import make_conv4, make_stream, run_by


def make_r2d2(norm="layer", how="auto", **options) -> R2D2:
    torch.manual_seed(0)
    r2d2 = run_by(how, R2D2(make_conv4(norm), **{"init_lambda": 0.7, "init_scale": 3.0, **options})).double()
    r2d2.log_lambda.data = torch.tensor(0.7, dtype=torch.float64).log()  # it was initialised in 32 bits
    return r2d2


def make_tasks(count=3, way=5, shot=2) -> TaskBatch:
    return make_stream(way, shot, query=3, dtype=torch.float64).draw(0, count)


@pytest.mark.parametrize("regularisation", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize(("examples", "features"), [(5, 40), (40, 5), (8, 8)])
def test_the_weights_equal_scikit_learn(examples, features, regularisation):
    torch.manual_seed(0)
    x, y = torch.randn(examples, features).double(), torch.randn(examples, 3).double()
    theirs = Ridge(alpha=regularisation, fit_intercept=False, solver="cholesky").fit(x.numpy(), y.numpy())
    ours = ridge_regression(x, y, torch.tensor(regularisation, dtype=torch.float64))
    torch.testing.assert_close(ours, torch.from_numpy(theirs.coef_).T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 5)])
def test_predictions_equal_scikit_learn_scaled_and_shifted(way, shot):
    r2d2, tasks = make_r2d2().eval(), make_tasks(2, way, shot)
    r2d2.bias.data.fill_(0.4)
    for t in range(2):
        support = torch.nn.functional.pad(r2d2.backbone(tasks.support_x[t]), (0, 1), value=1.0).detach()
        query = torch.nn.functional.pad(r2d2.backbone(tasks.query_x[t]), (0, 1), value=1.0).detach()
        one_hot = torch.eye(way, dtype=torch.float64)[tasks.support_y[t]]
        theirs = Ridge(alpha=0.7, fit_intercept=False).fit(support.numpy(), one_hot.numpy()).predict(query.numpy())
        expected = 3.0 * torch.from_numpy(theirs) + 0.4
        torch.testing.assert_close(r2d2.predict(tasks, 0)[0, t], expected, rtol=1e-9, atol=1e-12)


def test_in_regression_the_targets_themselves_are_regressed_on():
    torch.manual_seed(0)
    r2d2 = R2D2(MLP((3,), [6]), init_lambda=0.5).double().eval()
    x, y = torch.randn(2, 9, 3).double(), torch.randn(2, 9, 2).double()
    found = r2d2.predict(TaskBatch(x[:, :5], y[:, :5], x[:, 5:], y[:, 5:], way=1), 0)
    assert found.shape == (1, 2, 4, 2)
    for t in range(2):
        features = torch.nn.functional.pad(r2d2.backbone(x[t]), (0, 1), value=1.0).detach().numpy()
        theirs = Ridge(alpha=0.5, fit_intercept=False).fit(features[:5], y[t, :5].numpy()).predict(features[5:])
        torch.testing.assert_close(found[0, t], torch.from_numpy(theirs), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("examples", "features"), [(4, 9), (9, 4)])
def test_gradients_match_finite_differences(examples, features):
    torch.manual_seed(0)
    inputs = (torch.randn(examples, features), torch.randn(examples, 3), torch.tensor(0.5))
    assert torch.autograd.gradcheck(ridge_regression, [x.double().requires_grad_() for x in inputs])


def test_the_regularisation_is_learned_unless_it_is_fixed():
    tasks = make_tasks()
    learned, fixed = make_r2d2(), make_r2d2(learn_lambda=False)
    learned.meta_loss(tasks).backward()
    fixed.meta_loss(tasks).backward()
    assert learned.log_lambda.grad.abs() > 0
    assert fixed.log_lambda.grad is None


@pytest.mark.parametrize("shot", [1, 4])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_looped_and_vectorised_agree(norm, shot):
    tasks, gradients = make_tasks(shot=shot), []
    for how in ("loop", "vectorised"):
        r2d2 = make_r2d2(norm, how)
        gradients.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(r2d2.meta_loss(tasks), r2d2.parameters())])
        )
    assert ((gradients[0] - gradients[1]).norm() / gradients[0].norm()).item() < 1e-10


def test_permuting_labels_permutes_predictions():
    r2d2, tasks = make_r2d2(), make_tasks()
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = copy.copy(tasks)
    object.__setattr__(permuted, "support_y", permutation[tasks.support_y])
    torch.testing.assert_close(
        r2d2.predict(permuted, 0)[..., permutation], r2d2.predict(tasks, 0), rtol=1e-10, atol=1e-12
    )


def test_predictions_do_not_depend_on_other_tasks():
    r2d2, tasks = make_r2d2("batch", "vectorised"), make_tasks(4)
    alone = TaskBatch(*(t[2:3] for t in (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)), tasks.way)
    torch.testing.assert_close(r2d2.predict(tasks, 0)[:, 2:3], r2d2.predict(alone, 0), rtol=1e-10, atol=1e-12)


def test_meta_training_lowers_the_loss():
    torch.manual_seed(0)
    r2d2, stream = R2D2(make_conv4("running")), make_stream(5, 1)
    before = r2d2.meta_loss(stream.draw(0, 20)).item()
    training = Training(r2d2, Schedule(20, None, 4, 0.01, 1.0, 100, None, 20, 8, 0), stream, make_stream(split="val"))
    for _ in range(20):
        training._step()
    assert r2d2.meta_loss(stream.draw(0, 20)).item() < before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_lambda": 0.0}, r"algo\.init_lambda=0\.0 but it must be above 0"),
        ({"init_scale": -1.0}, r"algo\.init_scale=-1\.0 but it must be above 0"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_r2d2(**options)
