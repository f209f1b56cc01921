"""Networks of token ids: the mask excludes, every way of running them agrees, and gradients are right twice over."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms import MAML, ProtoNet
from metarun.backbones import Bag, ResidualMLP, Transformer, compute_in_bfloat16
from metarun.data import SPLITS, ClassDataset, Examples
from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from metarun.tasks import TaskShape
from metarun.tasks.source import task_source
from metarun.training.gradient_check import check_order

LENGTH, WORDS = 5, 20
TOKENS = np.dtype([("ids", np.int32, (LENGTH,)), ("mask", np.bool_, (LENGTH,))])
INPUTS = {
    "ids": InputSpec((LENGTH,), "int32", "ids", WORDS),
    "mask": InputSpec((LENGTH,), "bool", "mask"),
}
NETWORKS = {
    "bag": lambda inputs=INPUTS: Bag(inputs, width=6, hidden=(7, 4)),
    "transformer": lambda inputs=INPUTS: Transformer(inputs, width=8, layers=2, heads=2),
}


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().double()


def examples(n: int = 6, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, LENGTH + 1, (n, 1), generator=draw)
    mask = torch.arange(LENGTH) < lengths
    return {"ids": torch.randint(1, WORDS, (n, LENGTH), generator=draw) * mask, "mask": mask}


def tokens() -> ClassDataset:
    rng = np.random.default_rng(0)

    def of_class(c: int) -> np.ndarray:
        found = np.zeros(6, TOKENS)
        found["mask"] = np.arange(LENGTH) < rng.integers(2, LENGTH + 1, 6)[:, None]
        found["ids"] = np.where(found["mask"], (rng.integers(0, 6, (6, LENGTH)) + 2 * c) % WORDS, 0)
        return found

    splits = {split: Examples.from_classes({f"{split}{c}": of_class(c) for c in range(4)}) for split in SPLITS}
    return ClassDataset("tokens", splits, id_sizes={"ids": WORDS})


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_texts_computes_in_bfloat16(name):
    network = make(name).float()
    expected = network(examples())
    compute_in_bfloat16(network)
    found = network(examples())
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def test_the_bag_is_torchs_embedding_bag():
    network, x = make("bag"), examples()
    bags = [
        F.embedding_bag(ids[mask][None], network.embedding, mode="mean")
        for ids, mask in zip(x["ids"], x["mask"], strict=True)
    ]
    torch.testing.assert_close(network(x), network.layers(torch.cat(bags)))


def test_the_transformer_is_torchs():
    network, x = make("transformer"), examples()
    theirs = nn.TransformerEncoderLayer(8, 2, 32, 0.0, F.gelu, batch_first=True, norm_first=True).double()
    states = network.embedding[x["ids"]] + network.positions
    for layer in network.layers:
        same = {
            "self_attn.in_proj_weight": layer.query_key_value.weight,
            "self_attn.in_proj_bias": layer.query_key_value.bias,
            "self_attn.out_proj.weight": layer.out.weight,
            "self_attn.out_proj.bias": layer.out.bias,
            "linear1.weight": layer.widen.weight,
            "linear1.bias": layer.widen.bias,
            "linear2.weight": layer.narrow.weight,
            "linear2.bias": layer.narrow.bias,
            "norm1.weight": layer.before_attention.affine.weight,
            "norm1.bias": layer.before_attention.affine.bias,
            "norm2.weight": layer.before_forward.affine.weight,
            "norm2.bias": layer.before_forward.affine.bias,
        }
        states = torch.func.functional_call(theirs, same, (states,), {"src_key_padding_mask": ~x["mask"]})
    states = F.layer_norm(states, (8,), network.norm.affine.weight, network.norm.affine.bias)
    expected = [row[mask].mean(0) for row, mask in zip(states, x["mask"], strict=True)]
    torch.testing.assert_close(network(x), torch.stack(expected))


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_changes_nothing(name):
    network, x = make(name), examples()
    other = dict(x, ids=x["ids"].masked_fill(~x["mask"], 7))
    assert torch.equal(network(x), network(other))
    each = [network({field: values[i : i + 1] for field, values in x.items()}) for i in range(len(x["ids"]))]
    torch.testing.assert_close(network(x), torch.cat(each), rtol=1e-12, atol=1e-12)
    nothing = {"ids": torch.zeros(1, LENGTH, dtype=torch.long), "mask": torch.zeros(1, LENGTH, dtype=torch.bool)}
    assert network(nothing).isfinite().all()


def test_the_order_of_words_matters_to_the_transformer_alone():
    x = {"ids": torch.tensor([[1, 2, 3, 4, 5]]), "mask": torch.ones(1, LENGTH, dtype=torch.bool)}
    other = dict(x, ids=x["ids"].flip(1))
    torch.testing.assert_close(make("bag")(x), make("bag")(other))
    assert not torch.allclose(make("transformer")(x), make("transformer")(other))


@pytest.mark.parametrize("name", NETWORKS)
def test_looped_and_vectorised_agree(name):
    tasks = task_source(tokens()).stream("train", TaskShape(3, 1, 2), 0, torch.device("cpu"), torch.float64).draw(0, 2)
    for method_of in (lambda: ProtoNet(make(name)), lambda: MAML(make(name), 3, 0.1, 2).double()):
        found = []
        for how in ("loop", "vectorised"):
            torch.manual_seed(1)
            method = method_of()
            method.how = how
            loss = method.meta_loss(tasks)
            loss.backward()
            gradients = [weight.grad for weight in method.backbone.parameters()]
            found.append([loss.detach(), *gradients, method.eval().predict(tasks, 1)])
        for looped, vectorised in zip(*found, strict=True):
            torch.testing.assert_close(looped, vectorised, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_meta_gradient_is_the_slope_of_the_meta_loss(name):
    tasks = task_source(tokens()).stream("train", TaskShape(3, 1, 2), 0, torch.device("cpu"), torch.float64).draw(0, 1)
    check_order(MAML(make(name), 3, 0.1, 2).double(), tasks)


@pytest.mark.parametrize("name", NETWORKS)
def test_fields_that_do_not_fit_are_refused(name):
    vectors = {"x": InputSpec((4,), "float32", "floats")}
    with pytest.raises(UserError, match=rf"backbone={name} takes ids and a mask but an example has the fields x \(fl"):
        NETWORKS[name](vectors)
    unsized = dict(INPUTS, ids=InputSpec((LENGTH,), "int32", "ids"))
    with pytest.raises(UserError, match=r"needs a row of ids of a known number .* give the ClassDataset `id_sizes="):
        NETWORKS[name](unsized)
    assert NETWORKS[name]({"ids": INPUTS["ids"]})(torch.ones(2, LENGTH, dtype=torch.long)).shape[0] == 2


def test_arguments_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"backbone.heads=3 and backbone.layers=2 but the heads must divide the width"):
        Transformer(INPUTS, width=8, heads=3)
    with pytest.raises(UserError, match=r"backbone\.width=0 and backbone.hidden=\[128\] but every layer needs units"):
        Bag(INPUTS, width=0)
    with pytest.raises(UserError, match=r"backbone\.hidden=0 but the layer needs units"):
        ResidualMLP((3,), 0)


def test_an_id_that_is_too_large_is_refused():
    data = tokens()
    data.splits["val"].values["ids"][3, 1] = WORDS
    with pytest.raises(UserError, match="split 'val' of tokens has the id 20 in 'ids' but ids are 0 to 19"):
        ClassDataset("tokens", data.splits, id_sizes={"ids": WORDS})


def test_the_residual_network_begins_as_the_identity():
    x = torch.randn(3, 2, 2)
    network = ResidualMLP((2, 2), 5)
    assert torch.equal(network(x), x.flatten(1))
    assert network.features == 4
