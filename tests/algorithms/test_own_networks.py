"""Every method on networks as users write them, compared with torch's optimiser and a plain network."""

import copy
import functools
import logging

import pytest
import torch
from torch import nn

from metarun.algorithms import (
    ANIL,
    CAVIA,
    IMAML,
    MAML,
    R2D2,
    Baseline,
    BaselinePP,
    FineTune,
    InContext,
    Learn2LearnANIL,
    Learn2LearnMAML,
    Learn2LearnMetaSGD,
    MAMLPlusPlus,
    MatchingNet,
    MetaOptNet,
    MetaSGD,
    ProtoNet,
    Reptile,
    SimpleShot,
    to_channels_last,
)
from metarun.backbones import Module
from metarun.errors import UserError
from metarun.evaluation.feature_cache import is_per_example
from metarun.system.determinism import torch_settings
from metarun.tasks.losses import mean_loss
from metarun.training.execution_check import check_execution
from metarun.training.gradient_check import check_order
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support import own_networks as own
from tests.support.reference import import_learn2learn
from tests.support.synthetic import make_stream, run_by

WAY, RATE = 3, 0.25
INNER = {
    "maml": lambda net: MAML(net, WAY, RATE, 2),
    "recomputed": lambda net: MAML(net, WAY, RATE, 2, recompute=True),
    "fomaml": lambda net: MAML(net, WAY, RATE, 2, order=1),
    "metasgd": lambda net: MetaSGD(net, WAY, RATE, RATE, 2),
    "mamlpp": lambda net: MAMLPlusPlus(net, WAY, RATE, 2),
    "reptile": lambda net: Reptile(net, WAY, RATE, 2, 3, 100, "sgd"),
}
OTHERS = {
    "anil": lambda net: ANIL(net, WAY, RATE, 2),
    "cavia": lambda net: CAVIA(net, WAY, 1.0, 2, 4),
    "imaml": lambda net: IMAML(net, WAY, RATE, 2, 2.0, 2),
    "protonet": ProtoNet,
    "matching": MatchingNet,
    "r2d2": R2D2,
    "metaoptnet": MetaOptNet,
    "baseline": lambda net: Baseline(net, 5),
    "baselinepp": lambda net: BaselinePP(net, 5),
    "simpleshot": lambda net: SimpleShot(net, 5),
    "finetune": lambda net: FineTune(net, 5, RATE, "sgd"),
    "in_context": lambda net: InContext(net, WAY, width=8, layers=1, heads=2),
}
METHODS = {**INNER, **OTHERS}
# Fast tests cover some networks per method, slow tests all.
NETWORKS = [own.Tied, own.Transposed, own.Ids, own.Counting, own.Recurrent, own.Lazy, own.Normed, own.Branching]
NETWORKS += [own.Remembering, own.Frozen, own.Dropping, own.Bounded]
CROSS = [
    pytest.param(name, network, marks=[] if (i + j) % 6 == 0 else pytest.mark.slow)
    for i, name in enumerate(METHODS)
    for j, network in enumerate(NETWORKS)
]


@functools.cache
def stream_of(split):
    return make_stream(WAY, shot=2, query=2, split=split, dtype=torch.float64, sizes=(8,) * 5, shape=own.SHAPE)


def tasks(count=2):
    return stream_of("train").draw(0, count)


def make(name, network, how="loop"):
    torch.manual_seed(0)
    method = METHODS[name](Module(own.SHAPE, network())).double()
    method.how = how
    return method


def copy_weights(one: nn.Module, other: nn.Module) -> nn.Module:
    """Return `one` with the weights of `other`, which has each under its first name."""
    values = dict(other.named_parameters())
    with torch.no_grad():
        for name, weight in one.named_parameters():
            weight.copy_(values[name])
    return one


def train(method, steps=2):
    values = {"iterations": steps, "time_budget": None, "meta_batch": 2, "outer_lr": 0.1, "lr_decay": 1.0}
    values |= {"lr_decay_every": 100, "clip_grad": None, "validate_every": 2, "validate_tasks": 2, "validate_steps": 1}
    training = Training(method, Schedule(**values), stream_of("train"), stream_of("val"))
    training.run(lambda: None, [], lambda: None)
    return training


def sgd_predictions(method, task, steps):
    """Return the query outputs before and after each step of torch.optim.SGD on a copy of the whole network."""
    network = copy.deepcopy(nn.Sequential(method.backbone, method.head)).eval()
    optimiser = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], RATE)
    found = [network(task.query_x[0])]
    for _ in range(steps):
        optimiser.zero_grad()
        mean_loss(network(task.support_x[0]), task.support_y[0]).backward()
        optimiser.step()
        found.append(network(task.query_x[0]))
    return torch.stack(found).detach()


@pytest.mark.cross
@pytest.mark.parametrize("network", [own.Plain, own.TwoNames, own.Twice, *NETWORKS])
@pytest.mark.parametrize("name", INNER)
def test_the_inner_loop_equals_torchs_optimiser_on_a_copy(name, network):
    method = make(name, network).eval()
    expected = [sgd_predictions(method, stream_of("train").draw(i, 1), 3) for i in range(2)]
    for how in ("loop", "auto"):
        method.how = how
        torch.testing.assert_close(method.predict(tasks(), 3), torch.stack(expected, 1), rtol=1e-9, atol=1e-9)


@pytest.mark.cross
@pytest.mark.parametrize("how", ["loop", "vectorised"])
@pytest.mark.parametrize(("strange", "plain"), [(own.TwoNames, own.Plain), (own.Tied, own.Twice)])
@pytest.mark.parametrize("name", METHODS)
def test_training_gives_the_same_weights_as_the_plain_form_of_the_network(name, strange, plain, how):
    one, other = make(name, strange, how), make(name, plain, how)
    if name == "cavia" and strange is own.Tied:
        return  # one of two layers is modulated there, the same layer twice here
    copy_weights(one, other)
    for method in (one, other):
        train(method)
    moved = dict(other.named_parameters())
    assert [each for each, _ in one.named_parameters()] == list(moved)
    for each, weight in one.named_parameters():
        torch.testing.assert_close(weight, moved[each], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(one.eval().predict(tasks(), 2), other.eval().predict(tasks(), 2), rtol=1e-9, atol=1e-9)


@pytest.mark.cross
@pytest.mark.parametrize(("name", "network"), CROSS)
def test_execution_and_meta_gradient_checks_pass_and_training_works(name, network):
    if name == "cavia" and network in (own.Ids, own.Recurrent):
        with pytest.raises(UserError, match="algo=cavia needs a layer with weight and bias but this backbone has none"):
            make(name, network)
        return
    method = make(name, network, "auto")
    check_execution(method, tasks(), 2, learns=True)
    if name == "recomputed" and network is own.Dropping:
        with pytest.raises(UserError, match=r"fix them, or set `algo\.order=1` or `algo\.recompute=false`"):
            check_order(method, tasks(1))
        return
    if method.order is not None:
        check_order(method, tasks(1))
    before = copy.deepcopy(method)
    train(method)
    after = dict(method.named_parameters())
    for each, weight in before.named_parameters():
        assert weight.requires_grad or torch.equal(weight, after[each]), "a frozen weight has changed"
        assert after[each].isfinite().all()
    assert any(not torch.equal(weight, after[each]) for each, weight in before.named_parameters())
    copy.deepcopy(method)


@pytest.mark.cross
@pytest.mark.peers
@pytest.mark.parametrize("network", [own.Plain, own.TwoNames, own.Tied, own.Frozen, own.AllFrozen, own.Recurrent])
@pytest.mark.parametrize("order", [1, 2])
def test_the_meta_gradient_equals_learn2learn(order, network):
    import_learn2learn()
    found = []
    for kind in (MAML, Learn2LearnMAML):
        torch.manual_seed(0)
        method = run_by("loop", kind(Module(own.SHAPE, network()), WAY, RATE, 2, order)).double()
        learned = [weight for weight in method.parameters() if weight.requires_grad]
        found.append(torch.cat([each.flatten() for each in torch.autograd.grad(method.meta_loss(tasks()), learned)]))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize(("network", "what"), [(own.Frozen, "frozen weights"), (own.Tied, "weights under two names")])
def test_learn2learns_meta_sgd_refuses_frozen_and_shared_weights(network, what):
    import_learn2learn()
    with pytest.raises(UserError, match=rf"this backbone has {what}.*use algo=metasgd"):
        Learn2LearnMetaSGD(Module(own.SHAPE, network()), WAY)


@pytest.mark.peers
def test_learn2learns_anil_accepts_a_frozen_network():
    import_learn2learn()
    method = Learn2LearnANIL(Module(own.SHAPE, own.AllFrozen()), WAY, RATE, 2).double()
    train(method)


def test_frozen_weights_are_not_trained_and_a_method_without_others_warns(caplog):
    maml = make("maml", own.AllFrozen)
    training = train(maml)
    assert len(training.optimizer.weights) == 2, "the head's weight and bias"
    with caplog.at_level(logging.WARNING, "metarun"):
        training = train(make("protonet", own.AllFrozen))
    assert training.progress.iteration == 0
    assert "all weights of ProtoNet are frozen (requires_grad=False), so it is evaluated without" in caplog.text


def test_buffers_keep_what_a_training_pass_assigns():
    maml = make("maml", own.Counting)
    maml.train().meta_loss(tasks(2))
    assert int(maml.backbone.module.calls) == 2 * 3, "two tasks, two support passes and one of the queries"


def test_a_wrong_derivative_under_vmap_leads_to_a_loop(caplog):
    maml = make("maml", own.BatchNormed, "auto")
    with caplog.at_level(logging.INFO, "metarun"):
        check_execution(maml, tasks(), 2, learns=True)
    assert maml.how == "loop"
    assert "cannot be vectorised (the results differ from a loop)" in caplog.text
    maml.how = "vectorised"
    with pytest.raises(UserError, match=r"train\.over_tasks=vectorised is not possible with this network: the results"):
        check_execution(maml, tasks(), 2, learns=True)


def test_a_layer_without_a_second_derivative_is_refused_for_second_order():
    class Bag(own.Plain):
        def __init__(self):
            super().__init__()
            self.table = nn.EmbeddingBag(256, 6)

        def forward(self, x):
            return self.table((x.flatten(1) * 255).long())

    with pytest.raises(UserError, match=r"MAML does not run with Bag: .*not implemented; set `algo\.order=1` or"):
        check_execution(make("maml", Bag), tasks(), 2, learns=True)
    check_execution(make("fomaml", Bag), tasks(), 2, learns=True)
    check_order(make("fomaml", Bag), tasks(1))


def test_a_network_that_fails_on_the_data_is_reported_in_one_sentence():
    class Sometimes(own.Plain):
        def forward(self, x):
            if x.any():
                raise KeyError("grey")
            return super().forward(x)

    for name in ("protonet", "maml"):
        with pytest.raises(UserError, match=r"backbone\.module: Sometimes fails on float64 examples of .*: 'grey'"):
            make(name, Sometimes, "auto").meta_loss(tasks())


def test_nondeterministic_operations_are_reported_as_such():
    class Putting(own.Plain):
        def forward(self, x):
            y = super().forward(x)
            return y + torch.zeros(6, dtype=y.dtype).put_(torch.tensor([0, 0]), torch.ones(2, dtype=y.dtype))

    maml = make("protonet", Putting)
    with pytest.raises(UserError, match="deterministic=true but put_ does not have"), torch_settings(True, tf32=False):
        check_execution(maml, tasks(), 0, learns=True)


def test_is_per_example_uses_examples_of_the_data():
    assert is_per_example(Module(own.SHAPE, own.Bounded()).eval(), tasks(1).query_x[0])


def test_channels_last_is_only_used_if_the_network_supports_it():
    viewing = to_channels_last(make("protonet", own.Viewing).float())
    assert not viewing.backbone.supports_channels_last
    assert viewing.backbone.module.layer.weight.is_contiguous()
    viewing.meta_loss(make_stream(WAY, 2, 2, shape=own.SHAPE).draw(0, 1)).backward()


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("name", ["maml", "reptile", "protonet", "finetune"])
def test_weight_norm_by_a_hook_is_supported(name):
    method = make(name, own.NormedByHook)
    train(method)
    copy.deepcopy(method)
    expected = make(name, own.Normed)
    train(expected)
    torch.testing.assert_close(method.eval().predict(tasks(), 1), expected.eval().predict(tasks(), 1))


def test_cached_tensors_do_not_survive_a_pass():
    module = Module(own.SHAPE, own.Remembering())
    module(torch.rand(2, *own.SHAPE))
    assert not hasattr(module.module, "last")


class OverMaps(nn.Module):
    """A network whose norm has a weight and a bias for every pixel of a map."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(1, 3, 3), nn.LayerNorm([3, 4, 4])

    def forward(self, x):
        return self.norm(self.layer(x)).tanh().mean((2, 3))


def test_a_norm_over_more_than_channels_has_its_own_weights_at_every_step_of_mamlpp():
    method = make("mamlpp", OverMaps)
    assert [tuple(weight.shape) for weight in method.later_norms] == [(1, 3, 4, 4), (1, 3, 4, 4)]
    train(method)


def test_cavia_modulates_a_layer_with_a_bias_per_channel():
    assert make("cavia", OverMaps).layer == "module.layer"

    class Upwards(own.Plain):
        def __init__(self):
            super().__init__()
            self.wider = nn.ConvTranspose2d(1, 1, 3)

        def forward(self, x):
            return self.wider(x).flatten(1)[:, :6] + super().forward(x)

    assert make("cavia", Upwards).layer == "module.body.1"
