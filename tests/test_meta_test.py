import pytest
import torch

from metarun import meta_test
from metarun.algorithms import MAML, ProtoNet
from metarun.backbones import NORMS
from metarun.meta_test import adaptation_ms, evaluate, is_transductive, judge
from tests.synthetic import make_conv4, make_stream


def oracle(sure_of):
    """Predicts the label of the first `sure_of` queries and class 0 for the others."""

    def predict(batch):
        labels = batch.query_y.clone()
        labels[:, sure_of:] = 0
        return 5.0 * torch.nn.functional.one_hot(labels, batch.way)[None].double()

    return predict


def test_accuracy_loss_and_confidence_of_known_predictions():
    stream = make_stream(way=3, shot=1, query=2)
    found = judge(oracle(3), stream, 4)  # classes 0 0 1 right, 1 wrong, 2 2 wrong
    assert found.accuracy.tolist() == [[0.5] * 4]
    sure = torch.log_softmax(torch.tensor([5.0, 0, 0], dtype=torch.float64), 0)
    assert found.loss[0, 0].item() == pytest.approx(-(3 * sure[0] + 3 * sure[1]).item() / 6)
    assert found.confidence[0, 0].item() == pytest.approx(sure[0].exp().item())
    assert found.score == 0.5


@pytest.mark.parametrize("norm", ["batch", "running", "layer"])
def test_chunks_do_not_change_a_tasks_result(norm, monkeypatch):
    torch.manual_seed(0)
    maml, stream = MAML(make_conv4(norm), 5, 0.1, 1).double(), make_stream(dtype=torch.float64)
    whole = evaluate(maml, stream, 7, 3)
    monkeypatch.setattr(meta_test, "CHUNK_EXAMPLES", 2 * 5 * 4)  # two tasks at a time
    told = []
    parts = evaluate(maml, stream, 7, 3, lambda done, tasks: told.append((done, tasks)))
    assert told == [(2, 7), (4, 7), (6, 7), (7, 7)]
    assert torch.equal(whole.accuracy, parts.accuracy)
    torch.testing.assert_close(whole.loss, parts.loss, rtol=1e-10, atol=1e-12)
    assert whole.loss.shape == (4, 7)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["maml", "protonet"])
def test_transductive_is_found_by_asking(method, norm):
    torch.manual_seed(0)
    backbone = make_conv4(norm)
    algorithm = MAML(backbone, 5, 0.1, 1) if method == "maml" else ProtoNet(backbone)
    assert is_transductive(algorithm, make_stream(), 2) == (norm == "batch")
    assert next(algorithm.parameters()).dtype == torch.float32


def test_adapting_takes_time():
    assert adaptation_ms(ProtoNet(make_conv4()), make_stream(), 0, repeats=3) > 0


def test_judging_leaves_no_running_statistics_behind():
    torch.manual_seed(0)
    protonet = ProtoNet(make_conv4("running"))
    before = {name: tensor.clone() for name, tensor in protonet.state_dict().items()}
    evaluate(protonet, make_stream(), 3, 0)
    assert all(torch.equal(before[name], tensor) for name, tensor in protonet.state_dict().items())
