"""`data=NAME+NAME` in the config."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.mixtures import with_mixtures
from metarun.config.run_id import run_id
from metarun.config.schema import register
from metarun.errors import UserError

pytestmark = pytest.mark.command


def composed(*overrides, folders=()):
    register()
    words = with_mixtures([*overrides, *(f"chosen.{part}=x" for part in ("algo", "data", "backbone"))], folders)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return resolve(compose("config", words))


def test_a_mixture_has_the_settings_of_each_data_set_and_the_recipe_of_the_first():
    config = composed("algo=protonet", "data=omniglot+glyphs", "data.sets.glyphs.invert=true", "data.weights.glyphs=2")
    sets = config["data"].pop("sets")
    assert config["data"] == {"_target_": "metarun.data.Mixture", "weights": {"omniglot": 1, "glyphs": 2}}
    assert [*sets] == ["omniglot", "glyphs"]
    assert sets["omniglot"] == composed("data=omniglot")["data"]
    assert sets["glyphs"]["invert"] is True
    assert config["train"] == composed("algo=protonet", "data=omniglot")["train"]


def test_a_list_is_the_same():
    assert with_mixtures(["data=[omniglot, glyphs]"]) == ["data=omniglot+glyphs"]
    assert with_mixtures(["data=omniglot", "data.root=[a,b]"]) == ["data=omniglot", "data.root=[a,b]"]


def test_data_that_choose_a_backbone_and_another_recipe_do_so_in_a_mixture():
    config = composed("algo=r2d2", "data=banking77+clinc150")
    assert config["backbone"]["_target_"] == "metarun.backbones.ResidualMLP"
    assert config["train"] == composed("algo=r2d2", "data=banking77")["train"]  # the recipe of CLINC150
    assert composed("data=plants+table")["task"]["query"] == 10


def test_a_sweep_may_name_several_mixtures():
    with_mixtures(["data=glyphs,omniglot+fsdd,fsdd+glyphs"])
    assert [*composed("data=fsdd+glyphs")["data"]["weights"]] == ["fsdd", "glyphs"]


def test_a_data_set_of_the_users_own(tmp_path):
    Path(tmp_path / "data").mkdir()
    Path(tmp_path / "data" / "mine.yaml").write_text("_target_: my_data.Mine\nroot: here\n")
    config = composed("data=mine+glyphs", folders=[tmp_path])
    assert config["data"]["sets"]["mine"] == {"_target_": "my_data.Mine", "root": "here"}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("omniglot+glyfs", "unknown option data=glyfs in a mixture. Did you mean 'glyphs'"),
        ("glyphs+glyphs", r"data=glyphs\+glyphs names a data set twice"),
    ],
)
def test_a_wrong_name_is_one_sentence(data, sentence):
    with pytest.raises(UserError, match=sentence):
        with_mixtures([f"data={data}"])


def test_the_id_has_all_of_it_but_where_examples_are_kept():
    base = run_id(composed("data=fsdd+glyphs"))
    assert run_id(composed("data=fsdd+glyphs", "data.sets.fsdd.storage=disk")) == base
    changes = ("data.weights.fsdd=2", "data.sets.fsdd.split=digit")
    assert len({base, *(run_id(composed("data=fsdd+glyphs", change)) for change in changes)}) == 3
