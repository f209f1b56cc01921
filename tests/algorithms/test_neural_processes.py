"""Neural processes: their Gaussians, attention and likelihood, and what they must not depend on."""

import copy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from metarun.algorithms import CNP, AttentiveNP, TransformerNP
from metarun.algorithms.attentive_np import attend
from metarun.algorithms.neural_process import mean_and_sd, negative_log_likelihood
from metarun.algorithms.task_transformer import TaskTransformer
from metarun.backbones import MLP
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch
from tests.support.synthetic import run_by

METHODS = {"cnp": CNP, "attentive_np": AttentiveNP, "transformer_np": TransformerNP}
EVERY = pytest.mark.parametrize("name", METHODS)
INPUTS, OUTPUTS = 3, 2


@cache
def make(name, how="loop"):
    torch.manual_seed(0)
    return run_by(
        how,
        METHODS[name](MLP((INPUTS,), [8]), OUTPUTS, width=8, heads=2, layers=2)
        if name != "cnp"
        else CNP(MLP((INPUTS,), [8]), OUTPUTS, width=8, layers=2),
    ).double()


def make_tasks(count=3, shot=4, query=5, seed=0) -> TaskBatch:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, shot + query, INPUTS, generator=random, dtype=torch.float64)
    y = torch.randn(count, shot + query, OUTPUTS, generator=random, dtype=torch.float64)
    return TaskBatch(x[:, :shot], y[:, :shot], x[:, shot:], y[:, shot:], way=1)


def assert_close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@EVERY
@settings(max_examples=8, deadline=None)
@given(shot=st.integers(1, 12), query=st.integers(1, 6), seed=st.integers(0, 2**31))
def test_the_order_of_the_support_set_and_other_queries_do_not_matter(name, shot, query, seed):
    method, tasks = make(name), make_tasks(1, shot, query, seed)
    expected = method.distributions(tasks)
    assert expected.shape == (2, 1, query, OUTPUTS)
    order = torch.randperm(shot, generator=torch.Generator().manual_seed(seed))
    shuffled = TaskBatch(tasks.support_x[:, order], tasks.support_y[:, order], tasks.query_x, tasks.query_y, way=1)
    assert_close(method.distributions(shuffled), expected)
    for j in range(query):
        assert_close(method.distributions(tasks.with_queries(slice(j, j + 1))), expected[:, :, j : j + 1])


@EVERY
def test_a_prediction_depends_on_the_support_set_and_the_query(name):
    method, tasks = make(name), make_tasks(1)
    expected = method.predict(tasks, 0)
    for changed in ("support_x", "support_y", "query_x"):
        other = copy.copy(tasks)
        object.__setattr__(other, changed, getattr(tasks, changed) + 1)
        assert (method.predict(other, 0) - expected).abs().amax() > 1e-3, changed


@EVERY
def test_looped_and_vectorised_losses_and_gradients_agree(name):
    found = []
    for how in ("loop", "vectorised"):
        method = make(name, how)
        loss = method.meta_loss(make_tasks())
        gradients = torch.autograd.grad(loss, list(method.parameters()))
        found.append(torch.cat([loss[None], *(gradient.flatten() for gradient in gradients)]))
    assert_close(*found)


@EVERY
def test_the_gradient_of_the_loss_matches_finite_differences(name):
    method, tasks = make(name), make_tasks(2)
    weights = {weight: value.detach().clone() for weight, value in method.named_parameters()}
    torch.manual_seed(1)
    direction = {weight: torch.randn_like(value) for weight, value in weights.items()}

    def loss(step):
        moved = {weight: value + step * direction[weight] for weight, value in weights.items()}
        return torch.func.functional_call(_Loss(method), {f"method.{key}": each for key, each in moved.items()}, tasks)

    gradients = torch.autograd.grad(method.meta_loss(tasks), list(method.parameters()))
    exact = sum((g * direction[key]).sum() for g, key in zip(gradients, weights, strict=True))
    torch.testing.assert_close((loss(1e-5) - loss(-1e-5)) / 2e-5, exact, rtol=1e-5, atol=1e-7)


class _Loss(nn.Module):
    def __init__(self, method):
        super().__init__()
        self.method = method

    def forward(self, tasks):
        return self.method.meta_loss(tasks)


def test_the_likelihood_equals_that_of_torch():
    mean, targets = torch.randn(2, 50, dtype=torch.float64)
    sd = torch.rand(50, dtype=torch.float64) + 0.1
    expected = -torch.distributions.Normal(mean, sd).log_prob(targets)
    torch.testing.assert_close(negative_log_likelihood(mean, sd, targets), expected, rtol=1e-12, atol=1e-12)


def test_the_standard_deviation_is_bounded_below():
    mean, sd = mean_and_sd(torch.tensor([[3.0, -1e4], [1.0, 0.0]]), 0.1)
    assert mean.tolist() == [[3.0], [1.0]]
    torch.testing.assert_close(sd[:, 0], torch.tensor([0.1, 0.1 + 0.9 * 0.6931472]))


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_to_the_support_set_equals_that_of_torch(heads):
    torch.manual_seed(0)
    query, key, value = (torch.randn(n, 8, dtype=torch.float64) for n in (5, 3, 3))
    split = [each.unflatten(-1, (heads, -1)).transpose(0, 1) for each in (query, key, value)]
    expected = nn.functional.scaled_dot_product_attention(*split).transpose(0, 1).flatten(1)
    assert_close(attend(query, key, value, heads), expected)


def test_a_token_attends_to_the_support_tokens_alone_as_torch_computes_it():
    torch.manual_seed(0)
    layer = TaskTransformer(8, 1, 2, 1).double().layers[0]
    states = torch.randn(1, 7, 8, dtype=torch.float64)
    normed = nn.functional.layer_norm(states[0], (8,), layer.before_attention.affine.weight)
    parts = layer.query_key_value(normed).chunk(3, -1)
    query, key, value = (part.unflatten(-1, (2, -1)).transpose(0, 1) for part in parts)
    read = nn.functional.scaled_dot_product_attention(query, key[:, :3], value[:, :3]).transpose(0, 1).flatten(1)
    middle = states[0] + layer.out(read)
    widened = layer.widen(nn.functional.layer_norm(middle, (8,), layer.before_forward.affine.weight))
    expected = middle + layer.narrow(nn.functional.gelu(widened))
    assert_close(layer(states, torch.arange(7)[None] < 3)[0], expected)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (CNP, {"min_sd": 0.0}, r"algo\.min_sd=0\.0 but it must be above 0 and below 1"),
        (CNP, {"layers": 0}, r"algo\.layers=0 but it must be at least 1"),
        (AttentiveNP, {"width": 10, "heads": 4}, r"algo\.width=10 and algo\.heads=4 but the heads must be"),
        (TransformerNP, {"heads": 0}, r"algo\.heads=0 but the heads must be"),
        (TransformerNP, {"layers": 0}, r"algo\.layers=0 but it must be at least 1"),
    ],
)
def test_invalid_arguments_are_refused(method, options, message):
    with pytest.raises(UserError, match=message):
        method(MLP((INPUTS,), [8]), OUTPUTS, **options)
