import pytest
import torch

from metarun.algorithms import MAML, ProtoNet
from metarun.errors import RunFailed
from metarun.evaluation import evaluate as module
from metarun.evaluation.evaluate import adaptation_ms, evaluate, evaluate_predictions
from tests.support.synthetic import make_conv4, make_stream


def oracle(known):
    """Predict the label of the first `known` queries and class 0 for the others."""

    def predict(batch):
        labels = batch.query_y.clone()
        labels[:, known:] = 0
        return 5.0 * torch.nn.functional.one_hot(labels, batch.way)[None].double()

    return predict


def test_accuracy_loss_and_confidence_of_known_predictions():
    stream = make_stream(way=3, shot=1, query=2)
    found = evaluate_predictions(oracle(3), stream, 4)  # classes 0 0 1 right, 1 wrong, 2 2 wrong
    assert found.values["accuracy"].tolist() == [[0.5] * 4]
    sure = torch.log_softmax(torch.tensor([5.0, 0, 0], dtype=torch.float64), 0)
    assert found.loss[0, 0].item() == pytest.approx(-(3 * sure[0] + 3 * sure[1]).item() / 6)
    assert found.values["confidence"][0, 0].item() == pytest.approx(sure[0].exp().item())
    assert found.score == 0.5


@pytest.mark.parametrize("norm", ["batch", "running", "layer"])
def test_chunks_do_not_change_a_tasks_result(norm, monkeypatch):
    torch.manual_seed(0)
    maml, stream = MAML(make_conv4(norm), 5, 0.1, 1).double(), make_stream(dtype=torch.float64)
    whole = evaluate(maml, stream, 7, 3)
    monkeypatch.setattr(module, "CHUNK_EXAMPLES", 2 * 5 * 4)  # two tasks at a time
    told = []
    parts = evaluate(maml, stream, 7, 3, lambda done, tasks: told.append((done, tasks)))
    assert told == [(2, 7), (4, 7), (6, 7), (7, 7)]
    assert torch.equal(whole.values["accuracy"], parts.values["accuracy"])
    torch.testing.assert_close(whole.loss, parts.loss, rtol=1e-10, atol=1e-12)
    assert whole.loss.shape == (4, 7)


@pytest.mark.parametrize("how", ["loop", "vectorised"])
def test_the_last_step_alone_has_the_same_bits_as_after_every_step(how):
    torch.manual_seed(0)
    maml, stream = MAML(make_conv4(), 5, 0.1, 1), make_stream()
    maml.how = how
    every, last = evaluate(maml, stream, 7, 3), evaluate(maml, stream, 7, 3, every_step=False)
    assert last.loss.shape == (1, 7)
    assert torch.equal(every.loss[-1:], last.loss)
    assert torch.equal(every.headline, last.headline)
    assert every.score == last.score


@pytest.mark.parametrize(
    ("shape", "tasks"), [((1, 16, 16), 25), ((1, 28, 28), 25), ((3, 84, 84), 2), ((1, 400, 400), 1)]
)
def test_larger_pictures_give_fewer_tasks_at_once(shape, tasks):
    stream = make_stream(way=5, shot=1, query=7, sizes=(9,) * 5, shape=shape)
    assert module.tasks_at_once(stream, module.CHUNK_EXAMPLES) == tasks


def test_out_of_memory_evaluates_fewer_tasks_at_once_with_the_same_result(caplog):
    torch.manual_seed(0)
    maml, stream = MAML(make_conv4(), 5, 0.1, 1), make_stream()
    expected, asked = evaluate(maml, stream, 20, 1), []
    predict = maml.predict

    def small_memory(tasks, steps):
        asked.append(len(tasks))
        if len(tasks) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(tasks, steps)

    maml.predict = small_memory
    told = []
    found = evaluate(maml, stream, 20, 1, lambda done, tasks: told.append(done))
    assert asked == [20, 10, 5, 5, 5, 5]
    assert told[-4:] == [5, 10, 15, 20]
    assert torch.equal(found.values["accuracy"], expected.values["accuracy"])
    assert "out of memory: evaluating 5 tasks at once from now on, not 10" in caplog.text


def test_a_task_that_does_not_fit_in_memory_fails_the_run():
    def out_of_memory(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(
        RunFailed, match=r"one task does not fit in memory; lower `way` \(5\), `query` \(3\) or `backbone"
    ):
        evaluate_predictions(out_of_memory, make_stream(), 2)


def test_adaptation_time_is_positive():
    assert min(adaptation_ms(ProtoNet(make_conv4()), make_stream(), 0, repeats=3)) > 0


def test_evaluation_does_not_change_running_statistics():
    torch.manual_seed(0)
    protonet = ProtoNet(make_conv4("running"))
    before = {name: tensor.clone() for name, tensor in protonet.state_dict().items()}
    evaluate(protonet, make_stream(), 3, 0)
    assert all(torch.equal(before[name], tensor) for name, tensor in protonet.state_dict().items())
