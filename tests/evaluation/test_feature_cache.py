import copy

import pytest
import torch
from torch import nn

from metarun.algorithms import (
    ANIL,
    MAML,
    R2D2,
    Baseline,
    InContext,
    MatchingNet,
    NearestCentroid,
    ProtoNet,
    RelationNet,
    SimpleShot,
)
from metarun.backbones import NORMS
from metarun.evaluation.evaluate import evaluate, evaluate_predictions
from metarun.evaluation.feature_cache import is_per_example, on_cached_features
from tests.support.synthetic import make_conv4, make_stream

PER_EXAMPLE = ("running", "layer", "instance", "group", "none")
MAKERS = {
    "protonet": ProtoNet,
    "protonet, cosine": lambda backbone: ProtoNet(backbone, distance="cosine", learn_scale=True),
    "matching": lambda backbone: MatchingNet(backbone, full_context=True),
    "r2d2": R2D2,
    "simpleshot": lambda backbone: SimpleShot(backbone, 12),
    "baseline": lambda backbone: Baseline(backbone, 12),
    "anil": lambda backbone: ANIL(backbone, 5, inner_lr=0.1, inner_steps=2),
    "in_context": lambda backbone: InContext(backbone, 5, width=8),
    "features": lambda backbone: NearestCentroid(backbone, "features"),
}


def small_split(dtype=torch.float64):
    """A stream whose split has fewer examples than 30 tasks."""
    return make_stream(way=5, shot=2, query=3, dtype=dtype)


def make_method(name, norm):
    torch.manual_seed(0)
    method = MAKERS[name](make_conv4(norm)).double()
    for parameter in method.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return method.eval()


@pytest.mark.cross
@pytest.mark.parametrize("norm", PER_EXAMPLE)
@pytest.mark.parametrize("name", MAKERS)
def test_predictions_from_features_equal_those_from_examples(name, norm):
    method, stream = make_method(name, norm), small_split()
    on, features = on_cached_features(method, stream, 30, lambda: None, {})
    torch.testing.assert_close(
        on.predict(features.draw(3, 4), 2), method.predict(stream.draw(3, 4), 2), rtol=1e-10, atol=1e-10
    )
    assert torch.equal(features.draw(3, 4).query_y, stream.draw(3, 4).query_y)
    assert features.hash(30) == stream.hash(30)


def test_evaluation_gives_the_same_values_and_does_not_change_the_method():
    method, stream = make_method("protonet", "running"), small_split()
    before = copy.deepcopy(method)
    told = []
    found = evaluate(method, stream, 30, 0, lambda done, tasks: told.append((done, tasks)))
    plain = evaluate_predictions(lambda batch: method.predict(batch, 0), stream, 30)
    assert torch.equal(found.values["accuracy"], plain.values["accuracy"])
    torch.testing.assert_close(found.loss, plain.loss, rtol=1e-10, atol=1e-12)
    assert told[0] == (0, 30), "the user can stop while examples are embedded"
    assert told[-1] == (30, 30)
    assert str(method) == str(before)
    assert all(torch.equal(a, b) for a, b in zip(method.parameters(), before.parameters(), strict=True))


@pytest.mark.parametrize("norm", NORMS)
def test_networks_that_treat_examples_independently_are_recognised(norm):
    torch.manual_seed(0)
    assert is_per_example(make_conv4(norm).eval(), torch.rand(4, 1, 16, 16)) == (norm in PER_EXAMPLE)


def test_a_users_network_is_checked_too():
    class Centred(nn.Module):
        def forward(self, x):
            return (x - x.mean(0)).flatten(1)

    assert not is_per_example(Centred(), torch.rand(4, 1, 16, 16))
    assert is_per_example(nn.Flatten(), torch.rand(4, 1, 16, 16))


def test_methods_that_need_a_tasks_examples_do_not_use_features():
    stream = small_split()
    maml = MAML(make_conv4("layer"), 5, 0.1, 1).double().eval()
    relation = RelationNet(make_conv4("layer")).double().eval()
    for method in (
        maml,
        relation,
        make_method("protonet", "batch"),
        NearestCentroid(make_conv4("layer"), "raw").eval(),
    ):
        assert on_cached_features(method, stream, 30, lambda: None, {}) is None


def test_a_split_with_more_examples_than_the_tasks_is_not_embedded():
    method, stream = make_method("protonet", "layer"), small_split()
    assert stream.examples == 12 * 20
    assert on_cached_features(method, stream, 9, lambda: None, {}) is None  # 9 tasks of 25
    assert on_cached_features(method, stream, 10, lambda: None, {}) is not None
