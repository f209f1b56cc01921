"""SimCLR and rotation prediction: their losses, and that labels are not read."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import Rotation, SimCLR
from metarun.algorithms.simclr import nt_xent
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch
from tests.support.synthetic import make_conv4, make_stream


def test_nt_xent_is_that_of_the_papers_algorithm_1():
    torch.manual_seed(0)
    one, other = torch.randn(2, 6, 5, dtype=torch.float64)
    z = torch.stack([one, other], 1).flatten(0, 1).numpy()  # views 2k - 1 and 2k are of example k
    s = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in z] for a in z])

    def loss(i, j):
        others = sum(np.exp(s[i, k] / 0.2) for k in range(12) if k != i)
        return -np.log(np.exp(s[i, j] / 0.2) / others)

    by_hand = sum(loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in range(6)) / 12
    assert nt_xent(one, other, 0.2).item() == pytest.approx(by_hand, rel=1e-12)


def test_nt_xent_of_equal_views_of_orthogonal_examples_is_known():
    views = 3 * torch.eye(3, dtype=torch.float64)
    assert nt_xent(views, views, 0.5).item() == pytest.approx(math.log(1 + 4 * math.exp(-2)))
    assert nt_xent(views[:1], views[:1], 0.5).item() == 0


def test_the_gradient_of_nt_xent_agrees_with_finite_differences():
    torch.manual_seed(0)
    views = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *both: nt_xent(*both, 0.3), views)


class Mean(nn.Module):
    """A network whose feature is an example's mean."""

    features = 1

    def forward(self, x):
        return x.flatten(1).mean(1, keepdim=True)


def test_simclr_compares_the_two_queries_of_a_class():
    method = SimCLR(Mean(), temperature=0.5)
    method.projection = nn.Linear(1, 2).double()
    x = torch.tensor([1.0, 1.5, -2.0, -1.0]).double().reshape(1, 4, 1, 1, 1)  # two views each of two examples
    y = torch.tensor([[0, 0, 1, 1]])
    tasks = TaskBatch(x[:, ::2], y[:, ::2], x, y, way=2)
    expected = nt_xent(method.projection(x[0, ::2, 0, 0]), method.projection(x[0, 1::2, 0, 0]), 0.5)
    assert torch.equal(method.meta_loss(tasks), expected)


def test_rotation_turns_every_picture_to_four_angles():
    class Corner(nn.Module):
        """A network whose features say which corner is bright."""

        features = 4

        def forward(self, x):
            return torch.stack([x[:, 0, i, j] for i, j in ((0, 0), (-1, 0), (-1, -1), (0, -1))], 1)

    method = Rotation(Corner())
    method.classifier.weight.data = 50 * torch.eye(4)
    method.classifier.bias.data.zero_()
    x = torch.zeros(1, 2, 1, 3, 3)
    x[..., 0, 0] = 1  # turned by 90 degrees against the clock, the bright corner is below
    y = torch.tensor([[0, 1]])
    assert method.meta_loss(TaskBatch(x, y, x, y, way=2)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("make", [SimCLR, Rotation])
def test_a_query_is_assigned_to_the_nearest_mean_of_unit_features(make):
    torch.manual_seed(0)
    method = make(make_conv4("layer")).double().eval()
    task = make_stream(way=3, shot=2, query=2, dtype=torch.float64).draw(0, 1)
    support, query = (F.normalize(method.backbone(x[0]), dim=1) for x in (task.support_x, task.query_x))
    means = torch.stack([support[task.support_y[0] == c].mean(0) for c in range(3)])
    torch.testing.assert_close(method.predict(task, 0)[0, 0], -torch.cdist(query, means).square())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SimCLR(Mean(), temperature=0.0), r"algo.temperature=0.0 but it must be above 0"),
        (lambda: SimCLR(Mean(), projection=0), r"algo.projection=0 but it must be at least 1"),
        (
            lambda: SimCLR(make_conv4()).meta_loss(make_stream(query=3).draw(0, 1)),
            r"train.query=3 but algo=simclr compares two views; set `train.query=2`",
        ),
        (
            lambda: Rotation(make_conv4(shape=(1, 16, 8))).meta_loss(make_stream(shape=(1, 16, 8)).draw(0, 1)),
            r"algo=rotation turns square pictures but the examples are of shape \[1, 16, 8\]; use algo=simclr",
        ),
    ],
)
def test_what_is_not_possible_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
