"""Adapters: LoRA and FiLM, and what a task changes with each value of `algo.adapt`."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from torch import nn
from torch.nn.utils import parametrize

from metarun.algorithms import ANIL, MAML, FineTune, MAMLPlusPlus, MetaSGD
from metarun.algorithms.adapters import FiLM, LoRA
from metarun.backbones import MLP, Bag, Pretrained, Transformer
from metarun.backbones.norm import LayerNorm
from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.run_id import run_id
from metarun.config.schema import register
from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from tests.support.gradients import (
    assert_equal_to,
    assert_meta_gradient_matches_finite_difference,
    make_tasks,
    meta_gradient,
    perturbed,
    smooth,
)
from tests.support.markers import few_of
from tests.support.synthetic import make_conv4, run_by

PARTS = ("head", "norm", "film", "lora")
METHODS = {
    "maml": lambda backbone, adapt: MAML(backbone, 5, 0.1, 2, adapt=adapt, adapt_rank=2),
    "fomaml": lambda backbone, adapt: MAML(backbone, 5, 0.1, 2, order=1, adapt=adapt, adapt_rank=2),
    "metasgd": lambda backbone, adapt: MetaSGD(backbone, 5, inner_steps=2, adapt=adapt, adapt_rank=2),
    "mamlpp": lambda backbone, adapt: MAMLPlusPlus(
        backbone, 5, 0.1, 2, adapt=adapt, adapt_rank=2, per_step_norm=adapt != "norm"
    ),
}


def make(name, adapt, norm="layer", how="auto"):
    torch.manual_seed(0)
    return perturbed(run_by(how, METHODS[name](make_conv4(norm), adapt)))


@pytest.mark.parametrize("adapter", [lambda backbone: LoRA(backbone, 3, 6.0), FiLM], ids=["lora", "film"])
@pytest.mark.parametrize("norm", ["batch", "running", "layer", "tasknorm"])
def test_a_new_adapter_changes_nothing(adapter, norm):
    backbone = make_conv4(norm)
    made = adapter(backbone)
    for name, weight in made.layer_weights(backbone, {}, dict(made.named_parameters())).items():
        assert torch.equal(weight, backbone.get_parameter(name))


def test_a_change_of_lora_has_the_rank_and_the_factor_of_the_paper():
    linear = nn.Sequential(nn.Linear(3, 2))
    made = LoRA(linear, 1, 4.0)
    values = {"a.0": torch.tensor([[1.0, 2.0, 3.0]]), "b.0": torch.tensor([[1.0], [-1.0]])}
    change = made.layer_weights(linear, {}, values)["0.weight"] - linear[0].weight
    torch.testing.assert_close(change, torch.tensor([[4.0, 8.0, 12.0], [-4.0, -8.0, -12.0]]))


def test_the_first_gradient_of_lora_is_that_of_the_weight_projected():
    torch.manual_seed(0)
    backbone, x = make_conv4("layer").double(), torch.rand(6, 1, 16, 16, dtype=torch.float64)
    made = LoRA(backbone, 3, 6.0).double()
    direct = torch.autograd.grad(
        backbone(x).square().sum(), [backbone.get_parameter(f"{layer}.weight") for layer in made.layers]
    )
    values = dict(made.named_parameters())
    adapted = torch.func.functional_call(backbone, made.layer_weights(backbone, {}, values), x)
    of_a = torch.autograd.grad(adapted.square().sum(), list(made.a), retain_graph=True)
    of_b = torch.autograd.grad(adapted.square().sum(), list(made.b))
    for a, gradient, gradient_a, gradient_b in zip(made.a, direct, of_a, of_b, strict=True):
        assert not gradient_a.any()
        torch.testing.assert_close(gradient_b, 2.0 * gradient.flatten(1) @ a.mT)


def test_film_scales_and_shifts_the_output_of_each_norm():
    torch.manual_seed(0)
    backbone, x = make_conv4("running").double().eval(), torch.rand(4, 1, 16, 16, dtype=torch.float64)
    perturbed(backbone)
    made = perturbed(FiLM(backbone))
    merged = made.layer_weights(backbone, {}, dict(made.named_parameters()))
    ours = torch.func.functional_call(backbone, merged, x)
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer, scale, shift in zip(norms, made.scale, made.shift, strict=True):
        layer.register_forward_hook(
            lambda _, __, y, scale=scale, shift=shift: scale.view(-1, 1, 1) * y + shift.view(-1, 1, 1)
        )
    torch.testing.assert_close(ours, backbone(x))


@pytest.mark.cross
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("adapt", PARTS)
def test_a_task_changes_only_the_chosen_part(name, adapt):
    method, tasks = make(name, adapt), make_tasks(1)
    first, *_, last = method.inner_loop(tasks.support_x[0], tasks.support_y[0], 2, differentiable=False)
    changed = {weight for weight in first if not torch.equal(first[weight], last[weight])}
    shared = {"head.weight", "head.bias"}
    own = {
        "head": set(),
        "norm": {n for n, _ in method.named_parameters() if n.startswith("backbone.") and ".affine." in n},
        "film": {n for n, _ in method.named_parameters() if n.startswith("adapter.")},
        "lora": {n for n, _ in method.named_parameters() if n.startswith("adapter.")},
    }[adapt]
    of_steps = {f"backbone.{n}" for n, _ in method.backbone.named_parameters() if ".affine." in n}
    if name == "mamlpp" and adapt != "norm":
        changed -= of_steps  # meta-learned, the same in all tasks
    assert changed == shared | own


@pytest.mark.cross
@pytest.mark.parametrize("norm", ["batch", "support"])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("adapt", PARTS)
def test_looped_and_vectorised_agree(name, adapt, norm):
    looped, vectorised = (make(name, adapt, norm, how) for how in ("loop", "vectorised"))
    tasks = make_tasks()
    torch.testing.assert_close(vectorised.meta_loss(tasks), looped.meta_loss(tasks), rtol=1e-10, atol=0)
    assert_equal_to(meta_gradient(vectorised, tasks), meta_gradient(looped, tasks), 1e-9)
    torch.testing.assert_close(vectorised.predict(tasks, 3), looped.predict(tasks, 3), rtol=1e-10, atol=1e-12)


@pytest.mark.cross
@pytest.mark.parametrize("name", ["maml", "metasgd", "mamlpp"])
@pytest.mark.parametrize("adapt", ["film", "lora"])
def test_the_meta_gradient_matches_finite_differences(name, adapt):
    method = make(name, adapt)
    smooth(method.backbone)
    assert_meta_gradient_matches_finite_difference(method, make_tasks(2))


def test_adapting_the_head_alone_is_anil():
    torch.manual_seed(0)
    maml = MAML(make_conv4("layer"), 5, 0.1, 3, adapt="head").double()
    anil = ANIL(maml.backbone, 5, 0.1, 3).double()
    anil.head.load_state_dict(maml.head.state_dict())
    tasks = make_tasks()
    torch.testing.assert_close(maml.meta_loss(tasks), anil.meta_loss(tasks), rtol=1e-10, atol=0)
    assert_equal_to(meta_gradient(maml, tasks), meta_gradient(anil, tasks))


def test_lora_adapts_a_frozen_backbone_and_meta_learns_where_it_starts():
    torch.manual_seed(0)
    method = MAML(make_conv4("layer").requires_grad_(False), 5, 0.1, 2, adapt="lora").double()
    method.meta_loss(make_tasks()).backward()
    assert all(weight.grad is None for weight in method.backbone.parameters())
    assert all(weight.grad.any() for weight in method.adapter.b)
    assert all(weight.grad.any() for weight in method.adapter.a)  # B is zero only before the first inner step


@pytest.mark.parametrize("adapt", ["film", "lora"])
def test_an_encoder_that_is_frozen_but_for_its_adapters_is_adapted(adapt):
    torch.manual_seed(0)
    backbone = Pretrained({"x": InputSpec((6,), "float32", "floats")}, LikeBert(), "adapters", "none")
    method = MAML(backbone, 2, 0.1, 1, adapt=adapt)
    x, y = torch.rand(4, 6), torch.tensor([0, 0, 1, 1])
    first, last = method.inner_loop(x, y, 1, differentiable=False)
    assert {name for name in first if not torch.equal(first[name], last[name])} > {"head.weight", "head.bias"}
    learned = {name.split(".")[0] for name, weight in method.named_parameters() if weight.requires_grad}
    assert learned == {"adapter", "head"}


class LikeBert(nn.Module):
    """A linear layer and the normalisation of the text encoders."""

    features = 4

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 4), LayerNorm(4, 1e-5)

    def forward(self, x):
        return self.norm(self.linear(x))


class LowRank(nn.Module):
    """W + factor B A as torch's own parametrisation of a layer."""

    def __init__(self, a, b, factor):
        super().__init__()
        self.a, self.b, self.factor = nn.Parameter(a.clone()), nn.Parameter(b.clone()), factor

    def forward(self, weight):
        return weight + self.factor * (self.b @ self.a).view_as(weight)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.3), ("adam", 0.01)])
def test_fine_tuning_lora_equals_torchs_optimiser_on_a_parametrised_copy(optimizer, rate):
    torch.manual_seed(0)
    made = FineTune(make_conv4("running"), 12, rate, optimizer, adapt="lora", adapt_rank=2).double().eval()
    tasks = make_tasks(1)
    predictions = made.predict(tasks, 3)
    head = nn.Linear(8, 5).double()
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    backbone = copy.deepcopy(made.backbone).requires_grad_(False)
    low_rank = [LowRank(a, b, 4.0) for a, b in zip(made.adapter.a, made.adapter.b, strict=True)]
    for layer, part in zip(made.adapter.layers, low_rank, strict=True):
        parametrize.register_parametrization(backbone.get_submodule(layer), "weight", part)
    network = nn.Sequential(backbone, head).eval()
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    theirs = kind([*nn.ModuleList(low_rank).parameters(), *head.parameters()], lr=rate)
    for step in range(4):
        torch.testing.assert_close(predictions[step, 0], network(tasks.query_x[0]).detach(), rtol=1e-9, atol=1e-9)
        theirs.zero_grad()
        F.cross_entropy(network(tasks.support_x[0]), tasks.support_y[0]).backward()
        theirs.step()


@pytest.mark.parametrize("adapt", PARTS)
def test_fine_tuning_pretrains_no_adapter_and_changes_no_weight(adapt):
    torch.manual_seed(0)
    made = FineTune(make_conv4("running"), 12, adapt=adapt)
    before = copy.deepcopy(made.state_dict())
    predictions = made.eval().double().predict(make_tasks(1), 2)
    assert not torch.equal(predictions[0], predictions[2])
    assert all(torch.equal(before[name].double(), tensor.double()) for name, tensor in made.state_dict().items())
    assert not any(weight.requires_grad for name, weight in made.named_parameters() if name.startswith("adapter."))


def test_a_backbone_without_what_is_to_be_adapted_is_refused():
    def without_norm():
        return make_conv4("none")

    with pytest.raises(UserError, match=r"algo.adapt=norm needs a normalisation with trained weights .* none"):
        MAML(without_norm(), 5, 0.1, 1, adapt="norm")
    with pytest.raises(UserError, match=r"algo.adapt=film needs a normalisation with a scale and a shift .* none"):
        MAML(without_norm(), 5, 0.1, 1, adapt="film")
    flat = nn.Flatten()
    flat.features = 256
    with pytest.raises(UserError, match=r"algo.adapt=lora needs linear layers or convolutions .* has none"):
        MAML(flat, 5, 0.1, 1, adapt="lora")
    with pytest.raises(UserError, match=r"algo.adapt_rank=0 and algo.adapt_alpha=8.0 but rank must be at least 1"):
        MAML(make_conv4(), 5, 0.1, 1, adapt="lora", adapt_rank=0)
    with pytest.raises(UserError, match=r"algo.adapt='bias' is not one of all, head, norm, film, lora"):
        MAML(make_conv4(), 5, 0.1, 1, adapt="bias")
    with pytest.raises(UserError, match=r"algo.recompute=true has no gradient .* algo.adapt=lora leaves as they are"):
        MAML(make_conv4(), 5, 0.1, 1, recompute=True, adapt="lora")
    with pytest.raises(UserError, match=r"algo.adapt=norm adapts the normalisation but algo.per_step_norm=true"):
        MAMLPlusPlus(make_conv4(), 5, 0.1, 1, adapt="norm")


def test_other_backbones_have_adapters_too():
    torch.manual_seed(0)
    text = {"ids": InputSpec((7,), "int32", "ids", 30), "mask": InputSpec((7,), "bool", "mask")}
    for backbone, layers in ((MLP((3,), [4, 4]), 2), (Transformer(text, 8, 2, 2), 8), (Bag(text, 8, [4]), 1)):
        assert len(LoRA(backbone, 2, 2.0).layers) == layers


@pytest.mark.parametrize("algo", few_of(["maml", "mamlpp", "finetune"], "mamlpp"))
def test_only_another_part_makes_another_run(algo):
    register()

    def id_of(*words):
        chosen = [f"chosen.algo={algo}", "chosen.data=glyphs", "chosen.backbone=conv4"]
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return run_id(resolve(compose("config", [f"algo={algo}", *chosen, *words])))

    assert len({id_of(), id_of("algo.adapt=lora"), id_of("algo.adapt=lora", "algo.adapt_rank=4")}) == 3
