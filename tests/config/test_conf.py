"""The config tree: every option composes, recipes are applied automatically, every key has a comment."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from metarun.config.folder import config_dir
from metarun.config.schema import register
from tests.support.markers import few_of

pytestmark = pytest.mark.command

CONF = config_dir()
GROUPS = ("algo", "data", "backbone", "task", "debug", "logger")  # experiments: test_protocols.py
FILES = sorted(CONF.rglob("*.yaml"))
OURS = ("_target_", "recompute", "adapt", "adapt_rank", "adapt_alpha")  # what learn2learn's methods do not have
RECIPES = sorted((CONF / "recipe").glob("*.yaml"))  # recipe/maml_omniglot.yaml


@cache
def composed(*overrides: str, name: str = "config") -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, list(overrides))


def relative(path: Path) -> str:
    return str(path.relative_to(CONF))


def algo_and_data(recipe: Path) -> tuple[str, str]:
    """Return what a recipe is for: rl2_tabular_mdp.yaml is for algo=rl2 and data=tabular_mdp."""
    algos = [path.stem for path in (CONF / "algo").glob("*.yaml") if recipe.stem.startswith(f"{path.stem}_")]
    algo = max(algos, key=len, default="")
    return algo, recipe.stem.removeprefix(f"{algo}_")


# Each option of each group in one of them, to compose few.
COMBINATIONS = [
    [f"{group}={option}" for group, option in zip(GROUPS, options, strict=True) if option]
    for options in zip_longest(*(sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in GROUPS))
]


@pytest.mark.parametrize("words", few_of(COMBINATIONS, *COMBINATIONS[::2]), ids=" ".join)
def test_every_option_of_every_group_composes_and_resolves(words: list[str]) -> None:
    config = composed(*words)
    assert config.task.way > 0
    assert config.test.query == config.task.query
    for part in ("algo", "data", "backbone"):
        assert config[part]._target_.startswith("metarun.")


@pytest.mark.parametrize(
    "option", few_of(sorted(path.stem for path in (CONF / "data").glob("*.yaml")), "glyphs", "sinusoid", "text")
)
def test_a_finished_run_can_be_tested_on_every_data_set(option: str) -> None:
    assert composed("run=0a1b", f"data={option}", name="test").data._target_.startswith("metarun.data.")


OVERRIDES = [
    (["algo=maml", "data=omniglot"], {"algo.inner_lr": 0.4, "algo.inner_steps": 1, "train.meta_batch": 32}),
    (["algo=maml", "data=omniglot", "task.way=20"], {"algo.inner_lr": 0.1, "algo.inner_steps": 5}),
    (["algo=maml", "data=omniglot", "task=20way1shot"], {"train.meta_batch": 16, "test.steps": 5}),
    (["algo=maml", "data=omniglot"], {"backbone.downsample": "stride", "train.iterations": 60000}),
    (["algo=maml", "data=glyphs"], {"backbone.downsample": "stride", "train.iterations": 400}),
    (["algo=protonet", "data=omniglot"], {"train.way": 60, "train.query": 5, "train.lr_decay_every": 2000}),
    (["algo=protonet", "data=omniglot"], {"backbone.norm": "running", "task.way": 5}),
    (["algo=maml", "data=omniglot", "algo.inner_lr=0.2"], {"algo.inner_lr": 0.2}),
    (["algo.inner_lr=0.2", "data=omniglot", "algo=maml"], {"algo.inner_lr": 0.2}),
    (["algo=protonet", "data=omniglot", "train.way=30"], {"train.way": 30}),
    (["algo=maml", "backbone.norm=group"], {"backbone.norm": "group"}),
    (["algo=maml", "data=miniimagenet"], {"algo.inner_lr": 0.01, "train.meta_batch": 4, "train.clip_grad": 10}),
    (["algo=maml", "data=miniimagenet", "task=5way5shot"], {"train.meta_batch": 2, "backbone.filters": 32}),
    (["algo=protonet", "data=miniimagenet"], {"train.way": 30, "backbone.filters": 64}),
    (["algo=protonet", "data=miniimagenet", "task.shot=5"], {"train.way": 20, "train.query": 15}),
    (["algo=maml", "data=caltech101"], {"algo.inner_lr": 0.01, "backbone.filters": 32, "data.known": "caltech101"}),
    (["algo=mamlpp", "data=image_folder"], {"algo.multi_step_until": 0.15, "backbone.filters": 48}),
    (["algo=l2l_maml", "data=caltech101"], {"algo.inner_lr": 0.01, "backbone.filters": 32}),
    (["algo=maml", "data=omniglot", "~recipe"], {"algo.inner_lr": 0.1, "backbone.downsample": "pool"}),
    (["algo=maml", "data=omniglot", "backbone.downsample=pool"], {"backbone.downsample": "pool"}),
    (["algo=maml", "data=omniglot", "debug=smoke"], {"train.meta_batch": 2, "algo.inner_lr": 0.4}),
    (["data=omniglot", "debug=smoke", "train.meta_batch=3"], {"train.meta_batch": 3, "train.query": 2}),
    (["algo=protonet", "data=audio"], {"train.way": 15, "backbone.downsample": "stride", "data.mels": 40}),
    (["data=caltech101", "algo=maml", "algo.inner_lr=0.2"], {"algo.inner_lr": 0.2}),
]


@pytest.mark.parametrize(("overrides", "expected"), few_of(OVERRIDES, *OVERRIDES[::2]))
def test_recipes_are_applied_and_the_command_line_overrides_them(
    overrides: Sequence[str], expected: dict[str, Any]
) -> None:
    config = composed(*overrides)
    for key, value in expected.items():
        part, _, name = key.partition(".")
        assert config[part][name] == value, key


@pytest.mark.parametrize("path", RECIPES, ids=relative)
def test_every_recipe_is_for_an_algo_and_a_data_set_that_exist(path: Path) -> None:
    algo, data = algo_and_data(path)
    for group, option in (("algo", algo), ("data", data)):
        assert (CONF / group / f"{option}.yaml").is_file(), f"{relative(path)} names no option of {group}"


@pytest.mark.parametrize(("algo", "data"), few_of(map(algo_and_data, RECIPES), *map(algo_and_data, RECIPES[::8])))
def test_a_recipe_sets_only_keys_that_exist(algo: str, data: str) -> None:
    config = composed(f"algo={algo}", f"data={data}")
    without = composed(f"algo={algo}", "data=glyphs")
    written = yaml.safe_load((CONF / "recipe" / f"{algo}_{data}.yaml").read_text())
    for part, values in written.items():
        for key in values:
            assert key in config[part], f"{part}.{key}"
            assert key in without[part], f"only the recipe has {part}.{key}"


@pytest.mark.cross
@pytest.mark.parametrize("data", ["glyphs", "omniglot", "miniimagenet", "sinusoid"])
@pytest.mark.parametrize("method", ["maml", "anil", "metasgd"])
def test_learn2learns_methods_get_the_same_config_as_ours(method: str, data: str) -> None:
    ours, theirs = (dict(composed(f"algo={algo}", f"data={data}", "task.way=20")) for algo in (method, f"l2l_{method}"))
    for config in (ours, theirs):
        config["algo"] = {key: v for key, v in config["algo"].items() if key not in OURS}
        del config["chosen"]
    assert theirs == ours


@pytest.mark.parametrize("data", ["omniglot", "miniimagenet"])
def test_every_method_that_learns_has_a_recipe(data: str) -> None:
    algos = {path.stem for path in (CONF / "algo").glob("*.yaml")}
    recipes = {algo: f"{algo.removeprefix('l2l_')}_{data}.yaml" for algo in algos}
    without = {algo for algo in algos if not (CONF / "recipe" / recipes[algo]).is_file()}
    without -= {"attentive_np", "cnp", "transformer_np", "prompt"}  # regression alone, and texts alone
    without -= {"rotation", "simclr"}  # whose papers have neither
    without -= {"pmf", "caml"}  # whose papers start from pre-trained networks
    without -= {"finetune_rl", "maml_rl", "multitask", "promp", "random", "rl2"}  # reinforcement learning
    assert without <= {"nearest_centroid", "metaoptnet", "in_context"}, (
        "a floor does not learn, and MetaOptNet's paper has no Omniglot"
    )
    assert without == ({"nearest_centroid", "metaoptnet"} if data == "omniglot" else {"nearest_centroid", "in_context"})


def test_every_experiment_starts_with_its_command() -> None:
    experiments = list((CONF / "experiment").glob("*.yaml"))
    assert experiments
    for path in experiments:
        first = path.read_text().splitlines()[:4]
        assert any(f"metarun train experiment={path.stem}" in line for line in first), relative(path)
        assert "Published" in path.read_text(), f"{relative(path)} does not state the published number"


@pytest.mark.parametrize("path", sorted((CONF / "sweep").glob("*.yaml")), ids=relative)
def test_every_sweep_starts_with_its_command_and_sweeps_over_existing_keys(path: Path) -> None:
    assert f"metarun train +sweep={path.stem}" in path.read_text().splitlines()[1]
    swept = yaml.safe_load(path.read_text())["hydra"]
    assert swept["mode"] == "MULTIRUN"
    plain = composed(f"+sweep={path.stem}")
    assert plain == composed(), "a sweep file only sets what it sweeps over"
    assert all(OmegaConf.select(plain, key) is not None for key in swept["sweeper"]["params"])


def unexplained(text: str) -> Iterator[str]:
    """Yield the keys of a YAML text without a comment on their line, the line above, or the first line of their block.

    A value that is only a ${reference} needs no comment.
    """
    above, explained_block = "", 99
    for line in text.splitlines():
        key = re.match(r"(\s*)(\w+):\s*([^#]*)", line)
        if key:
            indent, name, value = len(key[1]), key[2], key[3].strip()
            explained = "#" in line or "#" in above or indent > explained_block
            if indent <= explained_block:
                explained_block = indent if not value and "#" in line else 99
            if not explained and name != "_target_" and not re.fullmatch(r"|\$\{[\w.:]+\}", value):
                yield name
        above = line


@pytest.mark.parametrize("path", [p for p in FILES if relative(p).split("/")[0] != "hydra"], ids=relative)
def test_every_key_has_a_comment(path: Path) -> None:
    text = path.read_text().partition("\nhydra:")[0]  # the rest is Hydra's
    if path in RECIPES:  # their keys are explained in config.yaml
        assert re.search(r"#.*(19|20)\d\d", text), "a recipe must name its paper"
    else:
        assert not list(unexplained(text))


def test_a_key_without_a_comment_is_found() -> None:
    text = "# a file\na: 1\nb: 2\nhead:   # each\n  c: 3\n  d: 4\ne: ${a}\nf: 5\nother:\n  g: 6\n"
    assert list(unexplained(text)) == ["b", "f", "g"]
