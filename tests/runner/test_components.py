"""Building the parts of a run from its config."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from metarun.algorithms import MAML, ProtoNet
from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.run_id import run_id
from metarun.config.schema import register
from metarun.errors import UserError
from metarun.runner.components import Parts
from metarun.tasks.source import task_source
from tests.support.markers import few_of
from tests.support.reference import import_learn2learn
from tests.support.synthetic import make_dataset


class Chooses(ProtoNet):
    """A user's method with an `over_tasks` argument."""

    def __init__(self, backbone, over_tasks="auto", **others):
        super().__init__(backbone, **others)
        self.told = over_tasks


class PassesOn(MAML):
    """A user's method that passes its arguments on to metarun's."""

    def __init__(self, note="", **others):
        super().__init__(**others)


def config(algo, how="auto", **keys):
    words = [f"algo={algo}", f"chosen.algo={algo}", "chosen.data=glyphs", "chosen.backbone=conv4"]
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        made = compose("config", [*words, "backbone.filters=4", "device=cpu", f"train.over_tasks={how}"])
    OmegaConf.set_struct(made, False)
    return resolve(OmegaConf.merge(made, {"algo": keys}))


def build_algorithm(config):
    parts = Parts(config)
    parts.raw = task_source(make_dataset(shape=(1, 28, 28)))
    return parts.algorithm


@pytest.mark.parametrize("how", ["auto", "loop", "vectorised"])
def test_over_tasks_is_set_by_the_run(how):
    assert build_algorithm(config("protonet", how)).how == how


@pytest.mark.parametrize("name", [None, "tests.runner.test_components.PassesOn"])
def test_over_tasks_in_algo_is_read_and_gives_the_same_id(name):
    target = {} if name is None else {"_target_": name}
    older = config("maml", **target, over_tasks="loop")
    assert build_algorithm(older).how == "loop"
    assert run_id(older) == run_id(config("maml", **target))


def test_a_users_method_with_the_argument_receives_it():
    made = build_algorithm(config("protonet", _target_="tests.runner.test_components.Chooses", over_tasks="loop"))
    assert (made.told, made.how) == ("loop", "auto")


@pytest.mark.parametrize("algo", few_of(["l2l_maml", "l2l_anil", "l2l_metasgd"], "l2l_maml"))
def test_a_method_that_can_only_loop_refuses_to_be_vectorised(algo):
    import_learn2learn()
    assert build_algorithm(config(algo)).how == "loop"
    with pytest.raises(UserError, match=r"^train\.over_tasks=vectorised but Learn2Learn\w+ can only loop over tasks"):
        build_algorithm(config(algo, "vectorised"))


def test_another_value_is_refused():
    with pytest.raises(UserError, match=r"^train\.over_tasks='sideways' is not one of auto, loop, vectorised\.$"):
        build_algorithm(config("maml", "sideways"))
