import copy

import pytest
import torch

from metarun.algorithms import InContext
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.synthetic import make_conv4, make_stream, run_by


def make(norm="layer", how="loop", **options) -> InContext:
    torch.manual_seed(0)
    sizes = {"max_way": 5, "width": 8, "layers": 1, "heads": 2}
    return run_by(how, InContext(make_conv4(norm), **{**sizes, **options})).double()


def make_tasks(count=3, way=5, shot=2) -> TaskBatch:
    return make_stream(way, shot, query=3, dtype=torch.float64).draw(0, count)


def replaced(tasks: TaskBatch, **values) -> TaskBatch:
    other = copy.copy(tasks)
    for name, value in values.items():
        object.__setattr__(other, name, value)
    return other


@pytest.mark.parametrize("max_way", [5, 7])
def test_the_order_of_the_support_set_and_other_queries_do_not_matter(max_way):
    method, tasks = make(max_way=max_way).eval(), make_tasks()
    expected = method.predict(tasks, 0)
    assert expected.shape == (1, 3, 15, 5)
    order = torch.randperm(10)
    shuffled = replaced(tasks, support_x=tasks.support_x[:, order], support_y=tasks.support_y[:, order])
    torch.testing.assert_close(method.predict(shuffled, 0), expected, rtol=1e-9, atol=1e-10)
    alone = method.predict(tasks.with_queries(slice(4, 5)), 0)
    torch.testing.assert_close(alone, expected[:, :, 4:5], rtol=1e-9, atol=1e-10)


def test_a_prediction_depends_on_which_example_has_which_label():
    method, tasks = make().eval(), make_tasks()
    other = replaced(tasks, support_y=(tasks.support_y + 1) % 5)
    assert (method.predict(other, 0) - method.predict(tasks, 0)).abs().amax() > 1e-3


def test_the_key_of_a_task_permutes_its_labels():
    classes = make_stream(5, 1, query=1).draw(0, 200).classes
    assert {int(row.argmin()) for row in classes} == set(range(5)), "the first class has any label"


def test_with_more_labels_than_classes_a_task_gets_any_of_them():
    method, tasks, seen = make(max_way=7), make_tasks(20), []
    plain = method.all_logits

    def record(support_x, support_y, query_x):
        seen.append(support_y)
        return plain(support_x, support_y, query_x)

    method.all_logits = record
    torch.manual_seed(0)
    loss = method.meta_loss(tasks)
    torch.manual_seed(0)
    assert torch.equal(loss, method.meta_loss(tasks)), "the labels are a function of torch's random state"
    assert set(torch.cat(seen).tolist()) == set(range(7))
    for labels, own in zip(seen, tasks.support_y, strict=False):
        assert len(labels.unique()) == 5
        same = own[:, None] == own
        assert torch.equal(labels[:, None] == labels, same), "examples of a class share a label"


def test_a_token_attends_to_the_most_similar_one_at_first():
    layer = make(layers=2).transformer.layers[1].query_key_value
    tokens = torch.randn(6, 8, dtype=torch.float64)
    query, key, _ = layer(tokens).chunk(3, -1)
    assert torch.equal(query, key)
    assert not torch.equal(query, make().transformer.layers[0].query_key_value(tokens).chunk(3, -1)[2])


def test_what_all_examples_share_does_not_matter():
    method, tasks = make(), make_tasks(1)
    plain = method.backbone.forward
    expected = method.predict(tasks, 0)
    method.backbone.forward = lambda x: plain(x) + 3
    torch.testing.assert_close(method.predict(tasks, 0), expected, rtol=1e-9, atol=1e-10)


def test_looped_and_vectorised_gradients_agree():
    tasks, gradients = make_tasks(), []
    for how in ("loop", "vectorised"):
        method = make(how=how)
        found = torch.autograd.grad(method.meta_loss(tasks), list(method.parameters()))
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    assert ((gradients[0] - gradients[1]).norm() / gradients[0].norm()).item() < 1e-10


def test_meta_training_lowers_the_loss():
    torch.manual_seed(0)
    method, stream = InContext(make_conv4("layer"), 5, 16, 1, 2), make_stream(5, 1)
    before = method.meta_loss(stream.draw(0, 20)).item()
    training = Training(method, Schedule(20, None, 4, 0.01, 1.0, 100, None, 20, 8, 0), stream, make_stream(split="val"))
    for _ in range(20):
        training._step()
    assert method.meta_loss(stream.draw(0, 20)).item() < before


def test_tasks_of_more_classes_than_labels_are_refused():
    with pytest.raises(UserError, match=r"tasks have 5 classes but this in_context has labels for 4"):
        make(max_way=4).predict(make_tasks(1), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_way": 0}, r"algo\.max_way=0 but it must be at least 1"),
        ({"width": 9}, r"algo\.width=9 and algo\.heads=2 but the heads must be at least 1 and divide"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make(**options)
