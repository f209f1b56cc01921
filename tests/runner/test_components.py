"""What the parts of a run take from its config."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from metarun.algorithms import MAML, ProtoNet
from metarun.config.compose import config_dir, resolve
from metarun.config.run_id import run_id
from metarun.config.schema import register
from metarun.errors import UserError
from metarun.runner.components import Parts
from metarun.tasks.stream import task_source
from tests.support.reference import import_learn2learn
from tests.support.synthetic import make_dataset


class Chooses(ProtoNet):
    """A method of a user's own that is told by its constructor how its tasks are run."""

    def __init__(self, backbone, over_tasks="auto", **others):
        super().__init__(backbone, **others)
        self.told = over_tasks


class PassesOn(MAML):
    """One that leaves its arguments to metarun's own."""

    def __init__(self, note="", **others):
        super().__init__(**others)


def config(algo, how="auto", **keys):
    words = [f"algo={algo}", f"chosen.algo={algo}", "chosen.data=glyphs", "chosen.backbone=conv4"]
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        made = compose("config", [*words, "backbone.filters=4", "device=cpu", f"train.over_tasks={how}"])
    OmegaConf.set_struct(made, False)
    return resolve(OmegaConf.merge(made, {"algo": keys}))


def made_from(config):
    parts = Parts(config)
    parts.source = task_source(make_dataset(shape=(1, 28, 28)))
    return parts.algorithm


@pytest.mark.parametrize("how", ["auto", "loop", "vectorised"])
def test_the_run_says_how_tasks_are_run(how):
    assert made_from(config("protonet", how)).how == how


@pytest.mark.parametrize("name", [None, "tests.runner.test_components.PassesOn"])
def test_a_config_that_says_so_of_the_method_is_read_and_is_the_same_run(name):
    target = {} if name is None else {"_target_": name}
    older = config("maml", **target, over_tasks="loop")
    assert made_from(older).how == "loop"
    assert run_id(older) == run_id(config("maml", **target))


def test_a_method_of_a_users_own_that_takes_it_gets_it():
    made = made_from(config("protonet", _target_="tests.runner.test_components.Chooses", over_tasks="loop"))
    assert (made.told, made.how) == ("loop", "auto")


@pytest.mark.parametrize("algo", ["l2l_maml", "l2l_anil", "l2l_metasgd"])
def test_a_method_that_can_only_loop_refuses_to_be_vectorised(algo):
    import_learn2learn()
    assert made_from(config(algo)).how == "loop"
    with pytest.raises(UserError, match=r"^train\.over_tasks=vectorised but Learn2Learn\w+ takes one task after the o"):
        made_from(config(algo, "vectorised"))


def test_another_word_is_refused():
    with pytest.raises(UserError, match=r"^train\.over_tasks='sideways' is not one of auto, loop, vectorised\.$"):
        made_from(config("maml", "sideways"))
