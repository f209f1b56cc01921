"""SimpleShot compared with its formulas in numpy and with easyfsl."""

import numpy as np
import pytest
import torch

from metarun.algorithms import SimpleShot
from metarun.algorithms.simpleshot import MEAN_WINDOW
from tests.support.reference import import_easyfsl
from tests.support.synthetic import make_conv4, make_stream


def written_out(support, labels, query, mean, transform) -> np.ndarray:
    def transformed(x):
        x = x - mean if transform == "CL2N" else x
        return x if transform == "UN" else x / np.sqrt((x**2).sum(1, keepdims=True))

    support, query = transformed(support), transformed(query)
    centroids = [support[labels == c].mean(0) for c in range(labels.max() + 1)]
    return np.array([[-((q - c) ** 2).sum() for c in centroids] for q in query])


@pytest.mark.parametrize("transform", ["UN", "L2N", "CL2N"])
@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 5), (8, 2)])
def test_logits_follow_the_formulas(way, shot, transform):
    torch.manual_seed(0)
    made = SimpleShot(make_conv4("running"), 12, transform).double().eval()
    made.mean.copy_(torch.randn(8).abs() / 10)
    tasks = make_stream(way, shot, query=3, dtype=torch.float64).draw(0, 3)
    predictions = made.predict(tasks, 9).numpy()
    for t in range(3):
        support, query = (made.backbone(x[t]).detach().numpy() for x in (tasks.support_x, tasks.query_x))
        expected = written_out(support, tasks.support_y[t].numpy(), query, made.mean.numpy(), transform)
        np.testing.assert_allclose(predictions[0, t], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize(("transform", "centred", "power"), [("UN", False, None), ("L2N", False, 2), ("CL2N", True, 2)])
@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 5)])
def test_features_and_centroids_equal_easyfsl(way, shot, transform, centred, power):
    # easyfsl's scores are cosines to the centroids p; the paper's, of queries q, are -|q - p|^2.
    torch.manual_seed(0)
    ours = SimpleShot(make_conv4("running"), 12, transform).double().eval()
    ours.mean.copy_(torch.randn(8).abs() / 10)
    theirs = import_easyfsl().methods.SimpleShot(
        ours.backbone, feature_centering=ours.mean if centred else None, feature_normalization=power
    )
    tasks = make_stream(way, shot, query=3, dtype=torch.float64).draw(0, 3)
    for t, found in enumerate(ours.predict(tasks, 0)[0]):
        with torch.no_grad():
            theirs.process_support_set(tasks.support_x[t], tasks.support_y[t])
            cosines, queries = theirs(tasks.query_x[t]), theirs.compute_features(tasks.query_x[t])
        q, p = queries.norm(dim=1, keepdim=True), theirs.prototypes.norm(dim=1)
        torch.testing.assert_close(found, 2 * q * p * cosines - q**2 - p**2, rtol=1e-9, atol=1e-12)


def all_examples(tasks):
    return torch.cat([tasks.support_x, tasks.query_x], 1).flatten(0, 1)


def test_pretraining_updates_the_mean_of_features():
    torch.manual_seed(0)
    made, stream = SimpleShot(make_conv4("layer"), 12).double(), make_stream(dtype=torch.float64)
    batches = [stream.draw(2 * i, 2) for i in range(5)]
    for batch in batches:
        made.meta_loss(batch)
    features = torch.cat([made.backbone(all_examples(batch)) for batch in batches])
    torch.testing.assert_close(made.mean, features.mean(0).detach(), rtol=1e-9, atol=1e-12)
    assert set(made.state_dict()) >= {"mean", "batches"}, "a checkpoint holds it"
    made.batches.fill_(10 * MEAN_WINDOW)  # later, an old batch fades by 1 % each time
    before = made.mean.clone()
    made.meta_loss(batches[0])
    expected = 0.99 * before + 0.01 * made.backbone(all_examples(batches[0])).mean(0).detach()
    torch.testing.assert_close(made.mean, expected, rtol=1e-9, atol=1e-12)


def test_calibration_weights_all_batches_equally():
    torch.manual_seed(0)
    made, stream = SimpleShot(make_conv4("running"), 12).double().eval(), make_stream(dtype=torch.float64)
    batches = [stream.draw(i, 1) for i in range(3 * MEAN_WINDOW)]
    for batch in batches:
        made.calibrate(batch)
    features = torch.cat([made.backbone(all_examples(batch)) for batch in batches])
    torch.testing.assert_close(made.mean, features.mean(0).detach(), rtol=1e-9, atol=1e-12)
