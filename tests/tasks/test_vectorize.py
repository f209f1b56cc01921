"""How tasks run: invalid settings, the measurement, and stored choices."""

import logging

import pytest
import torch
from torch import nn

from metarun.algorithms import MAML
from metarun.errors import UserError
from metarun.system.execution_mode import is_looping_over_tasks
from metarun.tasks import vectorize as module_under_test
from metarun.tasks.vectorize import over_tasks
from tests.support.gradients import make_tasks
from tests.support.synthetic import make_conv4


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch, tmp_path):
    monkeypatch.setattr(module_under_test, "_chosen", {})
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))


@pytest.fixture
def ways(monkeypatch):
    """Return a list that records how tasks run and how many."""
    run, taken = module_under_test._run, []

    def record(one_task, how, tensors):
        taken.append((how, len(tensors[0])))
        return run(one_task, how, tensors)

    monkeypatch.setattr(module_under_test, "_run", record)
    return taken


def pretend(monkeypatch, looped: float, vectorised: float) -> None:
    """Make the clock report these times."""
    now, run = [0.0], module_under_test._run

    def slow(one_task, how, tensors):
        now[0] += looped if how == "loop" else vectorised
        return run(one_task, how, tensors)

    monkeypatch.setattr(module_under_test, "SMALL", 0.03)  # not as in tests/conftest.py
    monkeypatch.setattr(module_under_test, "_run", slow)
    monkeypatch.setattr(module_under_test.time, "perf_counter", lambda: now[0])


def square(x):
    return x.square().sum()


@pytest.mark.parametrize(
    ("looped", "vectorised", "chosen"),
    [(1.0, 2.0, "loop"), (2.0, 1.0, "vectorised"), (1.0, 1.05, "vectorised"), (0.001, 0.01, "vectorised")],
)
def test_the_faster_way_is_chosen_and_stored(monkeypatch, tmp_path, looped, vectorised, chosen):
    pretend(monkeypatch, looped, vectorised)
    x = torch.randn(3, 2)
    torch.testing.assert_close(over_tasks(square, nn.Linear(2, 2), "auto", x), x.square().sum(1))
    (path,) = (tmp_path / "over_tasks").iterdir()
    assert path.read_text() == chosen
    assert list(module_under_test._chosen.values()) == [chosen]


def test_a_stored_choice_is_used_by_other_processes(monkeypatch, tmp_path, ways):
    x = torch.randn(3, 2)
    over_tasks(square, nn.Linear(2, 2), "auto", x)
    (path,) = (tmp_path / "over_tasks").iterdir()
    path.write_text("loop")
    monkeypatch.setattr(module_under_test, "_chosen", {})  # as in a new process
    del ways[:]
    over_tasks(square, nn.Linear(2, 2), "auto", x)
    assert ways == [("loop", 3)], "nothing is measured again"


@pytest.mark.parametrize("content", ["", "fast", "\0"])
def test_a_damaged_choice_is_measured_again(monkeypatch, tmp_path, content):
    x = torch.randn(3, 2)
    over_tasks(square, nn.Linear(2, 2), "auto", x)
    (path,) = (tmp_path / "over_tasks").iterdir()
    path.write_text(content)
    monkeypatch.setattr(module_under_test, "_chosen", {})
    torch.testing.assert_close(over_tasks(square, nn.Linear(2, 2), "auto", x), x.square().sum(1))


def test_an_unwritable_cache_is_ignored(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("METARUN_DATA", str(tmp_path / "file"))
    x = torch.randn(3, 2)
    torch.testing.assert_close(over_tasks(square, nn.Linear(2, 2), "auto", x), x.square().sum(1))


def test_shapes_networks_and_modes_have_separate_choices():
    for x, network in [(torch.randn(3, 2), nn.Linear(2, 2)), (torch.randn(3, 4), nn.Linear(2, 2))]:
        over_tasks(square, network, "auto", x)
    over_tasks(square, nn.Linear(3, 3), "auto", torch.randn(3, 2))
    with torch.no_grad():
        over_tasks(square, nn.Linear(2, 2), "auto", torch.randn(3, 2))
    assert len(module_under_test._chosen) == 4
    over_tasks(square, nn.Linear(2, 2), "auto", torch.randn(3, 2))
    assert len(module_under_test._chosen) == 4


def noise(x):
    return (x * torch.rand_like(x)).sum()


def test_measuring_uses_few_tasks_and_keeps_the_random_state(ways):
    network = nn.Linear(2, 2)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    module_under_test._measure(noise, network, (torch.ones(3, 2),))
    assert torch.equal(torch.rand(1), expected)
    del ways[:]
    over_tasks(square, nn.Linear(2, 2), "auto", torch.ones(100, 2))
    assert {count for _, count in ways[:-1]} == {8}
    assert ways[-1] == ("vectorised", 100)


def test_tasks_that_cannot_be_vectorised_are_looped_with_a_log_line(caplog):
    def stubborn(x):
        return x.sum() if x.sum().item() > 0 else -x.sum()

    x = torch.randn(4, 3)
    with caplog.at_level(logging.INFO, "metarun"):
        torch.testing.assert_close(over_tasks(stubborn, nn.Linear(2, 2), "auto", x), x.sum(1).abs())
    assert "running tasks in a loop: they cannot be vectorised" in caplog.text


def test_errors_of_a_method_are_raised_unchanged():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        over_tasks(lambda x: x @ torch.ones(5, 5), nn.Linear(2, 2), "auto", torch.ones(4, 2, 3))


def test_the_log_contains_the_measurement(monkeypatch, caplog):
    pretend(monkeypatch, 0.5, 0.25)
    with caplog.at_level(logging.DEBUG, "metarun"):
        over_tasks(square, nn.Linear(2, 2), "auto", torch.ones(4, 2))
    assert "running tasks vectorised: 0.25 s for 4 tasks (looped: 0.5 s)" in caplog.text


def test_running_statistics_and_single_tasks_are_looped(ways):
    network = nn.Sequential(nn.BatchNorm1d(2))
    over_tasks(square, network.train(), "auto", torch.ones(3, 2))
    over_tasks(square, network.eval(), "auto", torch.ones(1, 2))
    assert ways == [("loop", 3), ("loop", 1)]
    with pytest.raises(UserError, match=r"train\.over_tasks=vectorised cannot update running statistics"):
        over_tasks(square, network.train(), "vectorised", torch.ones(3, 2))
    with pytest.raises(UserError, match=r"train\.over_tasks='fast' is not one of auto, loop, vectorised"):
        over_tasks(square, network, "fast", torch.ones(3, 2))


def test_auto_equals_loop_and_vectorised():
    torch.manual_seed(0)
    maml, tasks = MAML(make_conv4(), 5, 0.1, 1).double(), make_tasks()
    losses = []
    for how in ("auto", "loop", "vectorised"):
        maml.how = how
        losses.append(maml.meta_loss(tasks))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-10, atol=0)
    torch.testing.assert_close(losses[0], losses[2], rtol=1e-10, atol=0)


@pytest.mark.parametrize("error", [RuntimeError, ValueError, TypeError, KeyError, IndexError])
def test_errors_under_a_stored_choice_lead_to_a_loop(monkeypatch, caplog, error):
    """The network has changed, or another network has weights of the same shapes."""

    def fussy(x):
        if not is_looping_over_tasks() and stubborn:
            raise error("not vectorisable")
        return (x * torch.rand(())).sum()

    stubborn, x = False, torch.ones(3, 2)
    monkeypatch.setattr(module_under_test, "_measure", lambda *_: "vectorised")
    over_tasks(fussy, nn.Linear(2, 2), "auto", x)
    stubborn = True
    torch.manual_seed(0)
    with caplog.at_level(logging.INFO, "metarun"):
        found = over_tasks(fussy, nn.Linear(2, 2), "auto", x)
    assert "running tasks in a loop: they cannot be vectorised" in caplog.text
    torch.manual_seed(0)
    assert torch.equal(found, over_tasks(fussy, nn.Linear(2, 2), "loop", x)), "the random state is restored"
