import copy

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms import Reptile
from metarun.algorithms.reptile import interleave_classes
from metarun.backbones import MLP
from metarun.data import Sinusoid
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.source import task_source
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.gradients import assert_equal_to, flat, make_tasks, meta_gradient, perturbed
from tests.support.synthetic import make_conv4, make_stream, run_by


def make_reptile(inner_optimizer="adam", how="auto", steps=4, norm="batch", batch=6) -> Reptile:
    torch.manual_seed(0)
    reptile = run_by(how, Reptile(make_conv4(norm), 5, 0.01, steps, batch, 3, inner_optimizer))
    return perturbed(reptile)


class TrainedByTorch:
    """The network trained by torch's optimiser, which goes from task to task as in the authors' code."""

    def __init__(self, reptile: Reptile) -> None:
        self.initial = flat(reptile.parameters()).detach().clone()
        self.network = copy.deepcopy(reptile)
        weights = self.network.parameters()
        self.optimizer = (
            torch.optim.Adam(weights, lr=0.01, betas=(0.0, 0.999))
            if reptile.inner_optimizer == "adam"
            else torch.optim.SGD(weights, lr=0.01)
        )

    def on(self, x: torch.Tensor, y: torch.Tensor, batches: list[list[int]]) -> torch.Tensor:
        """Return the weights after one step on each batch, from the initial weights on."""
        torch.nn.utils.vector_to_parameters(self.initial.clone(), self.network.parameters())
        for batch in batches:
            self.optimizer.zero_grad()
            F.cross_entropy(self.network.head(self.network.backbone(x[batch])), y[batch]).backward()
            self.optimizer.step()
        return flat(self.network.parameters()).detach().clone()


def as_trained(tasks, task: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the 1 + 2 examples of each class; classes take turns: first of every class, second of every class, …"""
    x = [tasks.support_x[task], tasks.query_x[task, 0::2], tasks.query_x[task, 1::2]]
    return torch.cat(x), torch.arange(5).repeat(3)


def batches_of(size: int, steps: int) -> list[list[int]]:
    return [[(size * step + j) % 15 for j in range(size)] for step in range(steps)]


@pytest.mark.cross
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize(("inner_optimizer", "how"), [("adam", "loop"), ("sgd", "loop"), ("sgd", "vectorised")])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_the_meta_gradient_is_initial_minus_adapted_weights(steps, inner_optimizer, how, norm):
    reptile, tasks = make_reptile(inner_optimizer, how, steps, norm), make_tasks(3)
    torchs = TrainedByTorch(reptile)
    # A bias before batch statistics has a gradient of rounding errors, which Adam divides by itself.
    tolerance = 1e-7 if (inner_optimizer, norm) == ("adam", "batch") else 1e-9
    for step in range(2):  # the second meta-batch starts with the moments of the first
        adapted = [torchs.on(*as_trained(tasks, task), batches_of(6, steps)) for task in range(3)]
        expected = torch.stack([torchs.initial - weights for weights in adapted]).mean(0)
        assert_equal_to(meta_gradient(reptile, tasks), expected, tolerance)
        assert reptile.moments is None or reptile.moments.steps == 3 * steps * (step + 1)


def test_a_new_task_is_learned_with_the_moments_of_meta_training():
    reptile, tasks = make_reptile(steps=3), make_tasks(2)
    torchs = TrainedByTorch(reptile)
    for task in range(2):
        torchs.on(*as_trained(tasks, task), batches_of(6, 3))
    reptile.meta_loss(tasks)
    before = copy.deepcopy(reptile.eval().state_dict())
    for task in range(2):  # each as if it were the first
        optimizer = copy.deepcopy(torchs.optimizer.state_dict())
        weights = torchs.on(tasks.support_x[task], tasks.support_y[task], [[0, 1, 2], [3, 4, 0]])
        torchs.optimizer.load_state_dict(optimizer)
        torch.nn.utils.vector_to_parameters(weights, torchs.network.parameters())
        expected = torchs.network.head(torchs.network.backbone(tasks.query_x[task]))
        torch.testing.assert_close(reptile.predict(tasks, 2)[-1, task], expected, rtol=1e-6, atol=1e-9)
    for name, value in reptile.state_dict().items():
        assert torch.equal(value, before[name]), "a test leaves nothing behind"


def test_moments_need_a_loop():
    with pytest.raises(UserError, match=r"over_tasks=vectorised cannot update running statistics or moments task"):
        make_reptile(how="vectorised").meta_loss(make_tasks(2))


def test_a_checkpoint_without_moments_starts_at_zero():
    reptile = make_reptile()
    reptile.meta_loss(make_tasks(1))
    weights = {name: value for name, value in reptile.state_dict().items() if not name.startswith("moments.")}
    reptile.load_state_dict(weights)
    assert (reptile.moments.steps, reptile.moments.squares.abs().max()) == (0, 0)


def test_the_outer_step_follows_the_paper():
    reptile = make_reptile()
    stream = make_stream(5, 1, query=2, dtype=torch.float64)
    values = {"iterations": 4, "time_budget": None, "meta_batch": 3, "outer_lr": 0.8, "lr_decay": 1.0}
    values |= {"lr_decay_every": 100, "clip_grad": None, "validate_every": 4, "validate_tasks": 4, "validate_steps": 2}
    schedule = Schedule(**values, outer_optimizer="sgd", lr_schedule="linear")
    training, initial = Training(reptile, schedule, stream, stream), flat(reptile.parameters()).detach().clone()
    training.progress.iteration = 1
    way_to_adapted = -meta_gradient(copy.deepcopy(reptile), stream.draw(3, 3))
    training._step()
    assert_equal_to(flat(reptile.parameters()), initial + 0.8 * (1 - 1 / 4) * way_to_adapted)


def test_the_meta_loss_is_the_last_inner_loss():
    reptile, tasks = make_reptile(steps=1, batch=15), make_tasks(1)
    x = torch.cat([tasks.support_x[0], tasks.query_x[0]])
    y = torch.cat([tasks.support_y[0], tasks.query_y[0]])
    torch.testing.assert_close(reptile.meta_loss(tasks), F.cross_entropy(reptile.head(reptile.backbone(x)), y))


@pytest.mark.parametrize("inner_optimizer", ["adam", "sgd"])
def test_predictions_equal_a_network_trained_on_the_support_set(inner_optimizer):
    reptile, tasks = make_reptile(inner_optimizer).eval(), make_tasks(1)
    torchs = TrainedByTorch(reptile)
    weights = torchs.on(tasks.support_x[0], tasks.support_y[0], [[0, 1, 2], [3, 4, 0], [1, 2, 3]])
    torch.nn.utils.vector_to_parameters(weights, torchs.network.parameters())
    expected = torchs.network.head(torchs.network.backbone(tasks.query_x[0]))
    torch.testing.assert_close(reptile.predict(tasks, 3)[-1, 0], expected, rtol=1e-9, atol=1e-12)


def test_classes_take_turns():
    assert interleave_classes(torch.tensor([0, 0, 0, 1, 1, 1]), 2).tolist() == [0, 3, 1, 4, 2, 5]
    assert interleave_classes(torch.tensor([0, 2, 2, 1, 2]), 3).tolist() == [0, 3, 1, 2, 4], "until one runs out"


def test_regression_uses_every_point():
    torch.manual_seed(0)
    reptile = Reptile(MLP((1,), [40, 40]), 1, 0.01, 1, 20, 5, "sgd").double()
    tasks = (
        task_source(Sinusoid()).stream("train", TaskShape(1, 10, 10), 0, torch.device("cpu"), torch.float64).draw(0, 1)
    )
    x, y = torch.cat([tasks.support_x[0], tasks.query_x[0]]), torch.cat([tasks.support_y[0], tasks.query_y[0]])
    expected = torch.autograd.grad(F.mse_loss(reptile.head(reptile.backbone(x)), y), list(reptile.parameters()))
    assert_equal_to(meta_gradient(reptile, tasks), 0.01 * flat(expected))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inner_steps": 0}, r"algo\.inner_steps=0 but it must be at least 1"),
        ({"inner_batch": 0}, r"algo\.inner_batch=0, algo\.test_batch=5 but both must be at least 1"),
        ({"test_batch": 0}, r"algo\.inner_batch=5, algo\.test_batch=0 but both must be at least 1"),
        ({"inner_optimizer": "lion"}, r"algo\.inner_optimizer='lion' is not one of adam, sgd"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    given = {"outputs": 5, "inner_lr": 0.1, "inner_steps": 1, "inner_batch": 5, "test_batch": 5}
    with pytest.raises(UserError, match=message):
        Reptile(make_conv4(), **{**given, **arguments})
