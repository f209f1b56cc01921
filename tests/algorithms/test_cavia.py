import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms import CAVIA
from metarun.algorithms.cavia import modulated_layer
from metarun.backbones import MLP, NORMS
from metarun.errors import UserError
from tests.support.gradients import (
    assert_equal_to,
    assert_meta_gradient_matches_finite_difference,
    flat,
    make_tasks,
    meta_gradient,
    perturbed,
    smooth,
)
from tests.support.markers import few_of
from tests.support.synthetic import make_conv4, run_by


def make_cavia(norm="batch", order=2, steps=2, how="auto", downsample="stride") -> CAVIA:
    torch.manual_seed(0)
    return perturbed(run_by(how, CAVIA(make_conv4(norm, downsample), 5, 0.5, steps, 7, order)))


def film_by_hook(cavia: CAVIA, context: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the outputs with FiLM on the output of a layer, as in the paper."""
    film = context @ cavia.film.weight.T + cavia.film.bias
    gamma, beta = film[:8].view(1, -1, 1, 1), film[8:].view(1, -1, 1, 1)
    layer = cavia.backbone.get_submodule(cavia.layer.removesuffix(".affine"))
    handle = layer.register_forward_hook(lambda *call: gamma * call[2] + beta)
    outputs = cavia.head(cavia.backbone(x))
    handle.remove()
    return outputs


@pytest.mark.cross
@pytest.mark.parametrize("how", ["loop", "vectorised"])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_loss_meta_gradient_and_predictions_follow_the_paper(steps, order, norm, how):
    cavia, tasks = make_cavia(norm, order, steps, how), make_tasks()
    logits = []
    for i in range(len(tasks)):
        context = torch.zeros(7, dtype=torch.float64, requires_grad=True)
        for _ in range(steps):
            loss = F.cross_entropy(film_by_hook(cavia, context, tasks.support_x[i]), tasks.support_y[i])
            (gradient,) = torch.autograd.grad(loss, context, create_graph=order == 2)
            context = context - 0.5 * gradient
        logits.append(film_by_hook(cavia, context, tasks.query_x[i]))
    expected = torch.stack([F.cross_entropy(one, y) for one, y in zip(logits, tasks.query_y, strict=True)]).mean()
    torch.testing.assert_close(cavia.meta_loss(tasks), expected, rtol=1e-9, atol=0)
    assert_equal_to(meta_gradient(cavia, tasks), flat(torch.autograd.grad(expected, list(cavia.parameters()))))
    torch.testing.assert_close(cavia.predict(tasks, steps)[-1], torch.stack(logits), rtol=1e-9, atol=1e-12)


@pytest.mark.cross
@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("norm", few_of(NORMS, "batch", "support", "layer"))
@pytest.mark.parametrize("steps", [1, 3])
def test_the_second_order_meta_gradient_matches_finite_differences(steps, norm, downsample):
    assert_meta_gradient_matches_finite_difference(
        smooth(make_cavia(norm, 2, steps, downsample=downsample)), make_tasks()
    )


def test_the_initial_network_is_not_modulated():
    torch.manual_seed(0)
    cavia, tasks = CAVIA(make_conv4("layer"), 5, 0.5, 1, 7).double(), make_tasks(1)
    torch.testing.assert_close(cavia.predict(tasks, 0)[0, 0], cavia.head(cavia.backbone(tasks.query_x[0])))


def test_the_last_but_one_layer_is_modulated_after_its_norm():
    assert modulated_layer(make_conv4("batch")) == "layers.2.1.affine"
    assert modulated_layer(make_conv4("running")) == "layers.2.1"
    assert modulated_layer(make_conv4("none")) == "layers.2.0"
    assert modulated_layer(MLP((1,), [40, 40])) == "layers.1"
    assert modulated_layer(MLP((1,), [40])) == "layers.1"


def test_networks_that_cannot_be_modulated_are_refused():
    class Raw(nn.Flatten):
        features = 256

    with pytest.raises(UserError, match="algo=cavia needs a layer with weight and bias but this backbone has none"):
        CAVIA(Raw(), 5, 0.5, 1, 7)


def test_adaptation_does_not_change_weights():
    cavia, tasks = make_cavia(), make_tasks()
    before = copy.deepcopy(cavia.state_dict())
    cavia.predict(tasks, 3)
    assert all(torch.equal(before[name], tensor) for name, tensor in cavia.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 3}, r"algo\.order=3 is not 1 \(first-order\) or 2 \(exact\)"),
        ({"inner_steps": 0}, r"algo\.inner_steps=0 but it must be at least 1"),
        ({"context": 0}, r"algo\.context=0 but a context needs at least 1 number"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        CAVIA(make_conv4(), **{"outputs": 5, "inner_lr": 0.1, "inner_steps": 1, "context": 5, **arguments})
