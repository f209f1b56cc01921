"""Fine-tuning compared with torch's optimisers on a copy of the network."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import FineTune
from tests.support.synthetic import make_conv4, make_stream


@pytest.mark.cross
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.3), ("adam", 0.01)])
@pytest.mark.parametrize("norm", ["running", "batch", "layer"])
@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 4)])
def test_the_steps_of_all_weights_equal_torchs_optimiser(way, shot, norm, optimizer, rate):
    torch.manual_seed(0)
    made = FineTune(make_conv4(norm), 12, rate, optimizer).double().eval()
    tasks = make_stream(way, shot, query=3, dtype=torch.float64).draw(0, 2)
    predictions = made.predict(tasks, 4)
    for t in range(2):
        head = nn.Linear(8, way).double()
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        network = nn.Sequential(copy.deepcopy(made.backbone), head).eval()
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
        theirs = kind(network.parameters(), lr=rate)
        for step in range(5):
            expected = network(tasks.query_x[t]).detach()
            assert (predictions[step, t] - expected).norm() <= 1e-9 * expected.norm()
            theirs.zero_grad()
            F.cross_entropy(network(tasks.support_x[t]), tasks.support_y[t]).backward()
            theirs.step()


def test_adaptation_does_not_change_the_pretrained_weights():
    made = FineTune(make_conv4("running"), 12).eval()
    before = copy.deepcopy(made.state_dict())
    made.predict(make_stream().draw(0, 2), 3)
    assert all(torch.equal(before[name], tensor) for name, tensor in made.state_dict().items())
