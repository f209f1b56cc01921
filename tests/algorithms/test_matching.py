import copy

import pytest
import torch

from metarun.algorithms import MatchingNet
from metarun.algorithms.matching import attended_classes
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.reference import import_easyfsl
from tests.support.synthetic import make_conv4, make_stream, run_by

CONTEXTS = pytest.mark.parametrize("full_context", [False, True])


def make_matching(norm="layer", how="auto", **options) -> MatchingNet:
    torch.manual_seed(0)
    return run_by(how, MatchingNet(make_conv4(norm), **{"read_steps": 3, **options})).double()


def make_tasks(count=3, way=5, shot=2) -> TaskBatch:
    return make_stream(way, shot, query=3, dtype=torch.float64).draw(0, count)


def easyfsl_with_weights_of(ours: MatchingNet):
    theirs = import_easyfsl().methods.MatchingNetworks(ours.backbone, feature_dimension=ours.backbone.features).double()
    encoder, context = theirs.support_features_encoder, ours.context
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(encoder, f"{name}_l0").data = getattr(context.forwards, name).data
        getattr(encoder, f"{name}_l0_reverse").data = getattr(context.backwards, name).data
        getattr(theirs.query_features_encoding_cell, name).data = getattr(context.reader, name).data
    return theirs


@pytest.mark.peers
@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 4), (2, 2)])
def test_probabilities_with_full_context_equal_easyfsl(way, shot):
    # easyfsl reads once per support example, does not normalise queries, and adds 1e-6 to each probability before the
    # logarithm.
    ours = make_matching(full_context=True, read_steps=way * shot, normalise_query=False)
    tasks, theirs = make_tasks(2, way, shot), easyfsl_with_weights_of(ours)
    for t in range(2):
        theirs.process_support_set(tasks.support_x[t], tasks.support_y[t])
        # its one-hot labels are in 32 bits, and so would the probabilities be
        theirs.one_hot_support_labels = theirs.one_hot_support_labels.double()
        expected = theirs(tasks.query_x[t]).exp() - 1e-6
        torch.testing.assert_close(ours.predict(tasks, 0)[0, t].exp(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.peers
def test_full_context_embeddings_equal_easyfsl():
    ours = make_matching(full_context=True, read_steps=6)
    theirs, support, query = easyfsl_with_weights_of(ours), torch.randn(6, 8).double(), torch.randn(4, 8).double()
    embedded = theirs.encode_support_features(support)
    torch.testing.assert_close(ours.context.embed_support(support), embedded, rtol=1e-9, atol=1e-12)
    theirs.contextualized_support_features = embedded
    torch.testing.assert_close(
        ours.context.embed_query(query, embedded), theirs.encode_query_features(query), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("way", "shot"), [(5, 1), (3, 4)])
def test_logits_follow_the_paper(way, shot):
    matching, tasks = make_matching(), make_tasks(2, way, shot)
    for t in range(2):
        support, query = matching.backbone(tasks.support_x[t]), matching.backbone(tasks.query_x[t])
        for j, q in enumerate(query):
            similarity = torch.stack([torch.cosine_similarity(q, s, dim=0) for s in support])
            attention = similarity.exp() / similarity.exp().sum()
            expected = torch.stack([attention[tasks.support_y[t] == c].sum() for c in range(way)])
            torch.testing.assert_close(matching.predict(tasks, 0)[0, t, j].exp(), expected, rtol=1e-9, atol=0)


def test_a_class_has_the_attention_of_its_examples():
    similarity = torch.tensor([[1.0, 2.0, 3.0]]).log()
    probabilities = attended_classes(similarity, torch.tensor([1, 0, 1]), 2).exp()
    torch.testing.assert_close(probabilities, torch.tensor([[2 / 6, 4 / 6]]))


@CONTEXTS
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_looped_and_vectorised_agree(norm, full_context):
    tasks, found = make_tasks(), []
    for how in ("loop", "vectorised"):
        matching = make_matching(norm, how, full_context=full_context)
        gradients = torch.autograd.grad(matching.meta_loss(tasks), matching.parameters())
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    assert ((found[0] - found[1]).norm() / found[0].norm()).item() < 1e-10


@CONTEXTS
def test_permuting_labels_permutes_predictions(full_context):
    matching, tasks = make_matching(full_context=full_context), make_tasks()
    permutation = torch.tensor([3, 0, 4, 1, 2])
    permuted = copy.copy(tasks)
    object.__setattr__(permuted, "support_y", permutation[tasks.support_y])
    torch.testing.assert_close(matching.predict(permuted, 0)[..., permutation], matching.predict(tasks, 0))


@CONTEXTS
def test_predictions_do_not_depend_on_other_tasks(full_context):
    matching, tasks = make_matching("batch", "vectorised", full_context=full_context), make_tasks(4)
    alone = TaskBatch(*(t[2:3] for t in (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)), tasks.way)
    torch.testing.assert_close(matching.predict(tasks, 0)[:, 2:3], matching.predict(alone, 0), rtol=1e-10, atol=1e-12)


@CONTEXTS
def test_meta_training_lowers_the_loss(full_context):
    torch.manual_seed(0)
    matching, stream = MatchingNet(make_conv4("running"), full_context, scale=10.0), make_stream(5, 1)
    before = matching.meta_loss(stream.draw(0, 20)).item()
    schedule = Schedule(20, None, 4, 0.01, 1.0, 100, None, 20, 8, 0)
    training = Training(matching, schedule, stream, make_stream(split="val"))
    for _ in range(20):
        training._step()
    assert matching.meta_loss(stream.draw(0, 20)).item() < before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"read_steps": 0}, r"algo\.read_steps=0 but it must be at least 1"),
        ({"scale": 0.0}, r"algo\.scale=0\.0 but it must be above 0"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_matching(**options)
