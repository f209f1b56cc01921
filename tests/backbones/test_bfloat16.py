"""precision=bf16: the network computes in bfloat16, everything else in float32."""

import copy

import pytest
import torch
from torch import nn

from metarun.algorithms import MAML, R2D2, MetaOptNet, ProtoNet, RelationNet
from metarun.backbones import NORMS, compute_in_bfloat16
from metarun.backbones.norm import make_norm, support_first
from metarun.errors import UserError
from metarun.runner.components import Parts
from tests.support.gradients import assert_equal_to, flat
from tests.support.synthetic import make_conv4, make_stream, run_by

TOLERANCE = 0.03  # bfloat16 has 8 significant bits: 0.4 % per rounding


def make(method, norm="batch", seed=0, in_bfloat16=True, **keys):
    torch.manual_seed(seed)
    backbone = make_conv4(norm, "pool_twice" if method is RelationNet else "stride")
    if in_bfloat16:
        compute_in_bfloat16(backbone)
    return method(backbone, **keys)


def make_maml(in_bfloat16, norm="batch", inner_lr=0.4, order=2, how="auto"):
    keys = {"outputs": 5, "inner_lr": inner_lr, "inner_steps": 1, "order": order}
    return run_by(how, make(MAML, norm, in_bfloat16=in_bfloat16, **keys)).train()


def meta_gradient(method, tasks):
    loss = method.meta_loss(tasks)
    assert loss.dtype == torch.float32
    gradients = torch.autograd.grad(loss, list(method.parameters()), materialize_grads=True)
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    return flat(gradients)


def output_dtypes(module: nn.Module) -> set[torch.dtype]:
    """Collect the dtypes that its convolutions return from now on."""
    seen: set[torch.dtype] = set()
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            child.register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    return seen


@pytest.mark.parametrize("method", [ProtoNet, R2D2, MetaOptNet, RelationNet])
@pytest.mark.parametrize("how", ["loop", "vectorised"])
def test_convolutions_are_in_bfloat16_and_predictions_in_float32(method, how):
    algorithm = run_by(how, make(method))
    seen = output_dtypes(algorithm)
    predictions = algorithm.eval().predict(make_stream().draw(0, 3), 1)
    assert seen == {torch.bfloat16}
    assert predictions.dtype == torch.float32
    assert {weight.dtype for weight in algorithm.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


def test_a_copy_in_float64_computes_in_float64():
    algorithm = make(ProtoNet)
    exact, plain = copy.deepcopy(algorithm).double(), make(ProtoNet, in_bfloat16=False).double()
    seen = output_dtypes(exact)
    tasks = make_stream(dtype=torch.float64).draw(0, 2)
    assert torch.equal(exact.predict(tasks, 0), plain.predict(tasks, 0))
    assert seen == {torch.float64}


@pytest.mark.parametrize("kind", ["protonet", "maml"])
@pytest.mark.parametrize("how", ["loop", "vectorised"])
def test_loss_and_gradient_match_float32_up_to_rounding(kind, how):
    tasks = make_stream(shot=5).draw(0, 8)
    ours, theirs = (
        make_maml(in_bfloat16, "layer", inner_lr=0.05, how=how)
        if kind == "maml"
        else run_by(how, make(ProtoNet, "layer", in_bfloat16=in_bfloat16))
        for in_bfloat16 in (True, False)
    )
    assert ours.meta_loss(tasks).item() == pytest.approx(theirs.meta_loss(tasks).item(), rel=TOLERANCE)
    rounded, exact = meta_gradient(ours, tasks), meta_gradient(theirs, tasks)
    assert not torch.equal(rounded, exact)
    assert_equal_to(rounded, exact, 5 * TOLERANCE)  # through eight convolutions and back


@pytest.mark.parametrize("how", ["loop", "vectorised"])
def test_the_meta_gradient_has_the_requested_order(how):
    tasks = make_stream(shot=5).draw(0, 8)
    first, second = (meta_gradient(make_maml(False, "layer", order=order), tasks) for order in (1, 2))
    apart = (second - first).norm()
    for order, exact in ((1, first), (2, second)):
        assert (meta_gradient(make_maml(True, "layer", order=order, how=how), tasks) - exact).norm() < 0.3 * apart


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "none"])
def test_statistics_are_computed_in_float32(norm):
    """Numbers far from zero have no decimals left in bfloat16 and do not sum up exactly."""
    x = (100 + torch.randn(6, 8, 5, 7)).bfloat16()
    layer = make_norm(norm, 8, spatial=True)
    with support_first(4), torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    with support_first(4):
        expected = layer(x.float())
    torch.testing.assert_close(found.float(), expected, rtol=2**-8, atol=1e-5)


def test_a_failed_call_leaves_autocast_disabled():
    algorithm = make(ProtoNet)
    with pytest.raises(RuntimeError, match="expected input"):
        algorithm.backbone(torch.zeros(1, 7, 16, 16))
    assert not torch.is_autocast_enabled("cpu")


def test_precision_is_one_of_three():
    with pytest.raises(UserError, match=r"precision=half is not one of float32, bf16, float64"):
        _ = Parts({"precision": "half"}).dtype
