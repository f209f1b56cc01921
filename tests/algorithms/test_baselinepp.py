"""Baseline++'s head compared with the same head as a module trained by torch's SGD."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import BaselinePP
from tests.support.synthetic import make_conv4, make_stream


class Cosine(nn.Module):
    """A cosine classifier by torch's cosine_similarity, pair by pair."""

    def __init__(self, directions, scale):
        super().__init__()
        self.directions, self.scale = nn.Parameter(directions), nn.Parameter(torch.tensor(scale).double())

    def forward(self, features):
        return self.scale * F.cosine_similarity(features[:, None], self.directions[None], dim=2)


@pytest.mark.parametrize(("way", "shot", "scale", "rate"), [(5, 1, 10.0, 0.01), (3, 4, 2.0, 0.5), (8, 2, 5.0, 0.1)])
def test_the_steps_of_a_head_equal_torch_sgd(way, shot, scale, rate):
    torch.manual_seed(0)
    made = BaselinePP(make_conv4("running"), 12, rate, scale).double().eval()
    tasks = make_stream(way, shot, query=3, dtype=torch.float64).draw(0, 2)
    predictions = made.predict(tasks, 4)
    for t in range(2):
        support, query = (made.backbone(x[t]).detach() for x in (tasks.support_x, tasks.query_x))
        unit = support / support.norm(dim=1, keepdim=True)
        head = Cosine(torch.stack([unit[tasks.support_y[t] == c].mean(0) for c in range(way)]), scale)
        sgd = torch.optim.SGD(head.parameters(), lr=rate)
        for step in range(5):
            theirs = head(query).detach()
            assert ((predictions[step, t] - theirs).norm() / theirs.norm()).item() < 1e-9
            sgd.zero_grad()
            F.cross_entropy(head(support), tasks.support_y[t]).backward()
            sgd.step()


def test_pretraining_uses_cosines_with_a_learned_scale():
    torch.manual_seed(0)
    made = BaselinePP(make_conv4("layer"), 12).double()
    made.learned_scale.data.fill_(3.0)
    tasks = make_stream(5, 1, query=2, dtype=torch.float64).draw(0, 2)
    x = torch.cat([tasks.support_x, tasks.query_x], 1).flatten(0, 1)
    labels = torch.cat([tasks.support_y, tasks.query_y], 1)
    classes = torch.stack([tasks.classes[t, labels[t]] for t in range(2)]).flatten()
    expected = F.cross_entropy(Cosine(made.directions.data, 3.0)(made.backbone(x)), classes)
    loss = made.meta_loss(tasks)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    (gradient,) = torch.autograd.grad(loss, made.learned_scale)
    assert gradient.abs() > 0
