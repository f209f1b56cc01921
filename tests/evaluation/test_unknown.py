"""The AUROC of known against unknown queries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from metarun.algorithms import MAML, ProtoNet
from metarun.evaluation import evaluate as chunks
from metarun.evaluation.evaluate import evaluate
from metarun.evaluation.unknown import auroc, evaluate_unknown, floor_unknown
from metarun.tasks.losses import known_score
from metarun.tasks.unknown_queries import UnknownQueries, WithUnknown
from tests.support.synthetic import make_conv4, make_stream, run_by

UNKNOWN = UnknownQueries("unknown", 3)


def test_auroc_by_hand():
    known, unknown = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 1.0, 0.0])
    assert auroc(known, unknown).item() == pytest.approx((3 + 1.5) / 6)  # 3 beats all; 1 beats 0 and ties with 1
    assert auroc(torch.tensor([2.0]), torch.tensor([1.0])).item() == 1
    assert auroc(torch.zeros(4), torch.zeros(3)).item() == 0.5


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9), st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_auroc_is_that_of_scikit_learn_also_with_ties(known, unknown):
    expected = roc_auc_score([1] * len(known) + [0] * len(unknown), known + unknown)
    found = auroc(torch.tensor(known, dtype=torch.float64), torch.tensor(unknown, dtype=torch.float64))
    assert found.item() == pytest.approx(expected)


def test_the_score_is_the_largest_logit_and_nan_is_the_lowest():
    predictions = torch.tensor([[1.0, 4.0], [-3.0, -2.0], [np.nan, 9.0], [-np.inf, -np.inf]])
    assert known_score(predictions).tolist() == [4, -2, -np.inf, -np.inf]


@pytest.mark.parametrize("make", [lambda: ProtoNet(make_conv4("running")), lambda: MAML(make_conv4(), 5, 0.1, 1)])
def test_it_is_that_of_each_tasks_predictions_in_any_chunking(make, monkeypatch):
    torch.manual_seed(0)
    method, stream = run_by("loop", make().double().eval()), make_stream(split="test", dtype=torch.float64)
    found = evaluate_unknown(method, stream, 3, 1, UNKNOWN, {})
    for number in range(3):
        predictions = method.predict(WithUnknown(stream, UNKNOWN).draw(number, 1), 1)[:, 0]  # (steps + 1, queries, way)
        scores = predictions.amax(-1).numpy()
        assert scores.shape[1] == 15 + 9
        expected = [roc_auc_score([1] * 15 + [0] * 9, of_step) for of_step in scores]
        assert found[:, number].tolist() == pytest.approx(expected)
    monkeypatch.setattr(chunks, "CHUNK_EXAMPLES", 60)
    assert torch.allclose(evaluate_unknown(method, stream, 3, 1, UNKNOWN, {}), found)


def test_features_that_are_computed_once_give_the_same():
    torch.manual_seed(0)
    method, stream = ProtoNet(make_conv4("running")).double(), make_stream(split="test", dtype=torch.float64)
    features: dict[str, torch.Tensor] = {}
    evaluate(method, stream, 100, 0, features=features)
    assert features, "they were cached"
    assert torch.allclose(
        evaluate_unknown(method, stream, 20, 0, UNKNOWN, features), evaluate_unknown(method, stream, 20, 0, UNKNOWN, {})
    )


def test_the_floor_is_the_distance_to_the_nearest_centroid_of_raw_inputs():
    stream = make_stream(split="test", dtype=torch.float64)
    found = floor_unknown(stream, 4, UNKNOWN)
    assert found.shape == (1, 4)
    task = WithUnknown(stream, UNKNOWN).draw(2, 1)
    support, queries = task.support_x[0].flatten(1), task.query_x[0].flatten(1)
    nearest = -torch.cdist(queries, support).amin(1)  # one shot: a centroid is an example
    assert found[0, 2].item() == pytest.approx(roc_auc_score([1] * 15 + [0] * 9, nearest.numpy()))
