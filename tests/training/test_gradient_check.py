import copy
import time

import pytest
import torch
from torch import nn

from metarun.algorithms import ANIL, CAVIA, MAML, Algorithm, MAMLPlusPlus, MetaSGD
from metarun.backbones import MLP, NORMS, Conv4
from metarun.data import Sinusoid
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.source import task_source
from metarun.training.gradient_check import check_order
from tests.support.synthetic import make_conv4, make_stream

METHODS = {
    "maml": lambda backbone, outputs, order, rate: MAML(backbone, outputs, rate, 3, order),
    "anil": lambda backbone, outputs, order, rate: ANIL(backbone, outputs, rate, 3, order),
    "cavia": lambda backbone, outputs, order, rate: CAVIA(backbone, outputs, rate, 3, 7, order),
    "metasgd": lambda backbone, outputs, order, rate: MetaSGD(backbone, outputs, rate / 2, rate, 3, order),
}
METHODS["mamlpp"] = lambda backbone, outputs, order, rate: MAMLPlusPlus(
    backbone, outputs, rate, 3, order, learn_rates=rate < 0.1, second_order_from=0.5
)


class Detached(Algorithm):
    """A MAML that claims to be second-order but detaches its inner gradients."""

    order = 2

    def __init__(self, backbone: nn.Module, outputs: int, inner_lr: float) -> None:
        super().__init__()
        self.maml = MAML(backbone, outputs, inner_lr, 3, order=1)

    def meta_loss(self, tasks: TaskBatch) -> torch.Tensor:
        return self.maml.meta_loss(tasks)

    def predict(self, tasks: TaskBatch, steps: int) -> torch.Tensor:
        return self.maml.predict(tasks, steps)


class Undetached(Detached):
    """A MAML that claims to be first-order but is not."""

    order = 1

    def __init__(self, backbone: nn.Module, outputs: int, inner_lr: float) -> None:
        super().__init__(backbone, outputs, inner_lr)
        self.maml.order = 2


def sinusoids() -> TaskBatch:
    return (
        task_source(Sinusoid()).stream("train", TaskShape(1, 10, 10), 0, torch.device("cpu"), torch.float32).draw(0, 1)
    )


@pytest.mark.cross
@pytest.mark.parametrize("rate", [1e-3, 0.4])
@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_the_claimed_order_passes(name, order, norm, downsample, rate):
    torch.manual_seed(0)
    check_order(METHODS[name](make_conv4(norm, downsample), 5, order, rate), make_stream().draw(0, 1))


@pytest.mark.cross
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("norm", ["none", "batch", "running", "layer"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_the_claimed_order_passes_in_regression(name, order, norm, seed):
    torch.manual_seed(seed)
    check_order(METHODS[name](MLP((1,), [40, 40], norm), 1, order, 0.01), sinusoids())


@pytest.mark.cross
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.4])
@pytest.mark.parametrize("norm", NORMS)
def test_a_first_order_method_that_claims_second_order_is_refused(norm, rate, seed):
    torch.manual_seed(seed)
    with pytest.raises(
        UserError, match=r"algo\.order=2 but the meta-gradient of Detached does not match finite differences"
    ):
        check_order(Detached(make_conv4(norm), 5, rate), make_stream().draw(0, 1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.001, 0.01])
def test_it_is_refused_in_regression_too(rate, seed):
    torch.manual_seed(seed)
    with pytest.raises(
        UserError, match=r"algo\.order=2 but the meta-gradient of Detached does not match finite differences"
    ):
        check_order(Detached(MLP((1,), [40, 40]), 1, rate), sinusoids())


def test_a_second_order_method_that_claims_first_order_is_refused():
    with pytest.raises(UserError, match=r"algo\.order=1 but the meta-gradient of Undetached is second-order"):
        check_order(Undetached(make_conv4(), 5, 0.1), make_stream().draw(0, 1))


def test_a_wrong_second_derivative_is_found():
    class Halved(torch.autograd.Function):
        """The square, with half of its second derivative."""

        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x**2

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return gradient * (x + x.detach())

    class Squares(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.features = inner, inner.features

        def forward(self, x):
            return Halved.apply(self.inner(x))

    torch.manual_seed(0)
    with pytest.raises(
        UserError, match=r"algo\.order=2 but the meta-gradient of MAML does not match finite differences"
    ):
        check_order(MAML(Squares(make_conv4()), 5, 0.1, 3), make_stream().draw(0, 1))


def test_an_inner_rate_of_zero_passes_with_both_orders():
    for order in (1, 2):
        check_order(MAML(make_conv4(), 5, 0.0, 1, order), make_stream().draw(0, 1))


def test_dropout_does_not_disturb_the_check():
    class Dropped(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.features = inner, inner.features

        def forward(self, x):
            return nn.functional.dropout(self.inner(x), 0.5, self.training)

    check_order(MAML(Dropped(make_conv4()), 5, 0.1, 2), make_stream().draw(0, 1))


def test_the_algorithm_and_the_random_state_are_unchanged():
    maml = MAML(make_conv4("running"), 5, 0.1, 1).eval()
    before, random = copy.deepcopy(maml.state_dict()), torch.get_rng_state()
    check_order(maml, make_stream().draw(0, 1))
    assert all(torch.equal(before[name], tensor) for name, tensor in maml.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert not maml.training


@pytest.mark.parametrize("way", [5, 20])
def test_it_is_fast(way):
    maml = MAML(Conv4((1, 28, 28), 64, "stride"), way, 0.4, 5)
    tasks = make_stream(5, shape=(1, 28, 28)).draw(0, 1)
    check_order(maml, tasks)
    started = time.process_time()
    check_order(maml, tasks)
    assert time.process_time() - started < 3  # half a second; the limit is for a busy machine
