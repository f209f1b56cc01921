"""The outer optimisers compared with torch's, to the bit."""

import copy
import subprocess
import sys

import pytest
import torch

from metarun.algorithms.outer_optimizer import OuterOptimizer

SHAPES = [(3, 4), (5,), (), (2, 1, 3)]
TORCH = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def make_weights(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in SHAPES]


def take_steps(optimizers, weights, first: int, last: int) -> None:
    """Take steps with each optimiser, of equal gradients; the second weight has none in every other step."""
    for number in range(first, last):
        generator = torch.Generator().manual_seed(number)
        gradients = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights[0]]
        if number % 2:
            gradients[1] = None
        for optimizer, own in zip(optimizers, weights, strict=True):
            for weight, gradient in zip(own, gradients, strict=True):
                weight.grad = None if gradient is None else gradient.clone()
            if isinstance(optimizer, OuterOptimizer):
                optimizer.lr = 0.1 / (number + 1)
            else:
                optimizer.param_groups[0]["lr"] = 0.1 / (number + 1)
            optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64], ids=str)
@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_every_step_has_the_bits_of_torchs_optimiser(kind, dtype):
    ours, theirs = make_weights(dtype), make_weights(dtype)
    optimizers = [OuterOptimizer(kind, ours, 0.1), TORCH[kind](theirs, 0.1)]
    for step in range(20):
        take_steps(optimizers, [ours, theirs], step, step + 1)
        assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_state_of_torchs_optimiser_can_be_continued(kind):
    ours, theirs = make_weights(), make_weights()
    reference = TORCH[kind](theirs, 0.1)
    take_steps([reference], [theirs], 0, 5)
    for weight, reached in zip(ours, theirs, strict=True):
        weight.copy_(reached)
    resumed = OuterOptimizer(kind, ours, 0.1)
    resumed.load_state_dict(copy.deepcopy(reference.state_dict()))
    take_steps([resumed, reference], [ours, theirs], 5, 10)
    assert all(map(torch.equal, ours, theirs))


def test_the_state_of_a_method_that_learns_nothing_can_be_continued():
    OuterOptimizer("adam", [], 0.1).load_state_dict(torch.optim.Adam([torch.zeros(1)]).state_dict())


def test_a_state_of_another_number_of_weights_is_refused():
    state = OuterOptimizer("adam", make_weights()[1:], 0.1).state_dict()
    with pytest.raises(ValueError, match="its optimiser has 3 weights, not 4"):
        OuterOptimizer("adam", make_weights(), 0.1).load_state_dict(state)


def test_a_step_does_not_import_torchs_compiler():
    program = """if True:
        import sys, torch
        from metarun.algorithms.outer_optimizer import OuterOptimizer
        weight = torch.zeros(3, requires_grad=True)
        weight.sum().backward()
        OuterOptimizer("adam", [weight], 0.1).step()
        sys.exit("torch._dynamo" in sys.modules)"""
    subprocess.run([sys.executable, "-c", program], check=True)
