import copy

import pytest
import torch

from metarun.algorithms import CAML
from metarun.algorithms.caml import elmes
from metarun.errors import UserError
from tests.support.synthetic import make_conv4, make_stream, run_by


def make(how="loop", **options) -> CAML:
    torch.manual_seed(0)
    sizes = {"max_way": 5, "label_features": 8, "layers": 1, "heads": 2}
    return run_by(how, CAML(make_conv4("layer"), **{**sizes, **options})).double().eval()


@pytest.mark.parametrize(("count", "size"), [(2, 2), (5, 8), (20, 20)])
def test_label_vectors_have_length_1_and_equal_angles(count, size):
    vectors = elmes(count, size).double()
    expected = (1 + 1 / (count - 1)) * torch.eye(count) - 1 / (count - 1)  # 1 on the diagonal
    torch.testing.assert_close(vectors @ vectors.T, expected.double(), rtol=0, atol=1e-6)


def test_the_order_of_the_support_set_and_other_queries_do_not_matter():
    method, tasks = make(), make_stream(5, 2, query=3, dtype=torch.float64).draw(0, 2)
    expected = method.predict(tasks, 0)
    order, shuffled = torch.randperm(10), copy.copy(tasks)
    object.__setattr__(shuffled, "support_x", tasks.support_x[:, order])
    object.__setattr__(shuffled, "support_y", tasks.support_y[:, order])
    torch.testing.assert_close(method.predict(shuffled, 0), expected, rtol=1e-9, atol=1e-10)
    alone = method.predict(tasks.with_queries(slice(4, 5)), 0)
    torch.testing.assert_close(alone, expected[:, :, 4:5], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(make("vectorised").predict(tasks, 0), expected, rtol=1e-9, atol=1e-10)


def test_a_query_is_a_token_without_a_label_and_labels_keep_their_vectors():
    method, tasks = make(layers=1), make_stream(3, 1, query=1, dtype=torch.float64).draw(0, 1)
    seen = []
    method.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.unknown.data.fill_(7.0)
    assert method.predict(tasks, 0).shape == (1, 1, 3, 3), "fewer classes than labels"
    (states,) = seen  # (queries, 1 + support, features + 8)
    assert (states[:, 0, -8:] == 7).all()
    assert torch.equal(states[1, 1:, -8:], method.label_vectors[tasks.support_y[0]])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"max_way": 1}, "algo.max_way=1 but it must be at least 2"),
        ({"label_features": 4}, "algo.label_features=4 but 5 labels need as many numbers; set `algo.label_features=5`"),
        ({"heads": 3}, "at least one layer, and the heads must divide the sum of 8 features and 8 label numbers"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        make(**arguments)


def test_more_classes_than_labels_are_refused():
    with pytest.raises(UserError, match="tasks have 7 classes but this caml has labels for 5; meta-train a run with"):
        make().predict(make_stream(7, 1, dtype=torch.float64).draw(0, 1), 0)


def test_with_more_labels_than_classes_all_of_them_are_trained():
    tasks = make_stream(5, 1, query=1, dtype=torch.float64).draw(0, 20)
    method = make(max_way=7)
    torch.manual_seed(0)
    method.meta_loss(tasks).backward()
    (weight,) = (parameter for name, parameter in method.named_parameters() if name == "out.1.weight")
    seen: list[torch.Tensor] = []
    plain = method.all_logits
    method.all_logits = lambda x, y, query_x: seen.append(y) or plain(x, y, query_x)
    torch.manual_seed(0)
    method.meta_loss(tasks)
    assert weight.grad.abs().sum(1).all()
    assert set(torch.cat(seen).tolist()) == set(range(7))
