import pytest

from metarun.algorithms import MAML, ProtoNet
from metarun.config.instantiate import build
from metarun.errors import UserError
from tests.support.synthetic import make_conv4


def test_the_class_is_called_with_its_keys_and_the_given_arguments():
    node = {"_target_": "metarun.algorithms.MAML", "outputs": 5, "inner_lr": 1, "inner_steps": 2}
    maml = build("algo", node, backbone=make_conv4())
    assert isinstance(maml, MAML)
    assert (maml.outputs, maml.inner_lr, maml.inner_steps, maml.order) == (5, 1, 2, 2)
    assert isinstance(build("algo", {"_target_": "metarun.algorithms.ProtoNet"}, backbone=make_conv4()), ProtoNet)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({}, "`algo` does not name a class; set `algo._target_` or choose one with `algo=…`"),
        ({"_target_": "no.such.Class"}, r"algo\._target_=no\.such\.Class cannot be imported"),
        (
            {"_target_": "metarun.algorithms.MAML", "outputs": 5},
            r"`algo\.inner_lr` is missing and MAML has no default",
        ),
        (
            {"_target_": "metarun.algorithms.MAML", "outputs": 5, "inner_lr": 0.1, "inner_steps": 1, "oder": 2},
            r"`algo\.oder` is not a key of MAML, which takes .* Did you mean 'order'\?",
        ),
        (
            {"_target_": "metarun.algorithms.MAML", "outputs": 5, "inner_lr": 0.1, "inner_steps": 1.5},
            r"algo\.inner_steps=1\.5 is not an integer",
        ),
        (
            {"_target_": "metarun.algorithms.MAML", "outputs": 5, "inner_lr": True, "inner_steps": 1},
            r"algo\.inner_lr=True is not a number",
        ),
        (
            {"_target_": "metarun.algorithms.MAML", "outputs": 5, "inner_lr": 0.1, "inner_steps": 1, "order": True},
            r"algo\.order=True is not one of 1, 2",
        ),
        (
            {"_target_": "metarun.algorithms.MAML", "outputs": 5, "inner_lr": 0.1, "inner_steps": 1, "adapt_rnk": 2},
            r"`algo\.adapt_rnk` is not a key of MAML, which takes .*, adapt_alpha\. Did you mean 'adapt_rank'\?",
        ),
        (
            {"_target_": "metarun.algorithms.MAML", "outputs": 5, "inner_lr": 0.1, "inner_steps": 1, "adapt_rank": "2"},
            r"algo\.adapt_rank='2' is not an integer",
        ),
        (
            {"_target_": "metarun.algorithms.ProtoNet", "distance": "manhattan"},
            r"algo\.distance='manhattan' is not one of squared_euclidean, cosine",
        ),
    ],
)
def test_a_node_that_cannot_be_built_is_one_sentence(node, message):
    with pytest.raises(UserError, match=message):
        build("algo", node, backbone=make_conv4())


@pytest.mark.parametrize("target", ["metarun.__version__", "builtins.dict", "builtins.type"])
def test_a_target_without_a_signature_cannot_be_built(target):
    with pytest.raises(UserError, match=rf"^algo\._target_={target} is not a class or function with a known signature"):
        build("algo", {"_target_": target})


@pytest.mark.parametrize("node", [5, "maml", None, ["_target_"]])
def test_a_node_that_is_not_a_mapping_does_not_name_a_class(node):
    with pytest.raises(UserError, match=r"`algo` does not name a class; set `algo\._target_`"):
        build("algo", node)
