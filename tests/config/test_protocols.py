"""The protocols on docs/reference.md are those of the configs."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from metarun.api.config import compose_config
from metarun.config.compose import stored_yaml
from metarun.config.run_id import seedless_id
from metarun.reporting.reference.experiments import experiments
from metarun.reporting.reference.protocols import own_recipes, protocols
from tests.config.test_conf import CONF, RECIPES, composed

pytestmark = pytest.mark.command

FAST = ("maml_omniglot", "maml_sinusoid", "protonet_omniglot", "maml_sinusoid_5points", "protonet_omniglot_5w1s")
TASKS = ("5way5shot", "20way1shot", "20way5shot")
VARIANTS = [(name, task) for name, each in protocols().items() for task in TASKS if "sinusoid" not in each.compose]


def mostly_slow(names: Iterable[str]) -> list[Any]:
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names]


def values_of(name: str, *overrides: str) -> dict[str, Any]:
    config = composed(*protocols()[name].compose.split(), *overrides)
    return {key: OmegaConf.select(config, key) for key in protocols()[name].lines if "." in key}


@pytest.mark.parametrize("name", mostly_slow(protocols()))
def test_our_column_of_a_protocol_is_what_the_recipe_composes_to(name: str) -> None:
    assert values_of(name) == {key: line.ours for key, line in protocols()[name].lines.items() if "." in key}


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize(("name", "task"), VARIANTS)
def test_our_column_is_right_for_other_task_sizes(name: str, task: str) -> None:
    lines = {key: line for key, line in protocols()[name].lines.items() if "." in key}
    assert values_of(name, f"task={task}") == {key: line.at.get(task, line.ours) for key, line in lines.items()}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_has_a_protocol_with_each_key_that_it_sets(path: Path) -> None:
    assert (path.stem in protocols()) != (path.stem in own_recipes())
    if path.stem in protocols():
        written = yaml.safe_load(path.read_text())
        network = {f"backbone.{key}" for key in written.pop("paper_backbone", {})}
        keys = {f"{group}.{key}" for group, values in written.items() for key in values} | network
        assert keys <= set(protocols()[path.stem].lines)


def test_a_difference_has_its_reason_and_is_told() -> None:
    protocol = protocols()["fomaml_omniglot"]
    assert protocol.lines["algo.order"].ours == 1, "its own line, not MAML's"
    assert protocol.lines["algo.inner_lr"].ours_text == "0.4; 0.1 at 20way1shot; 0.1 at 20way5shot"


def test_a_verdict_tells_what_differs_from_the_paper_and_nothing_else() -> None:
    def told(*overrides: str) -> dict[str, str]:
        config = compose_config(dict(each.split("=") for each in overrides))
        return {each.partition(":")[0]: each for each in protocols()["maml_miniimagenet"].differences(config)}

    recipe = told("algo=maml", "data=miniimagenet")
    assert recipe["test.query"].startswith(
        "test.query: 15 instead of not stated (code: as many as shots); 15, as later"
    )
    assert "train.iterations" not in recipe, "as the paper"
    assert "train.validate_every" not in recipe, "the paper does not say"
    assert "test.query" not in told("experiment=maml_miniimagenet_5w1s"), "set to the code's"


@pytest.mark.parametrize("name", mostly_slow(path.stem for path in sorted((CONF / "experiment").glob("*.yaml"))))
def test_every_experiment_is_known_with_its_id_and_the_protocol_of_its_recipe(name: str) -> None:
    config, known = compose_config({"experiment": name}), experiments()[name]
    if "encoder" not in config["backbone"] or find_spec("wordllama"):  # without its weights, a run has another id
        if known.trained_as is not None:
            config = {**yaml.safe_load(stored_yaml(config, "train")), "run": known.training.seedless}
        assert known.seedless == seedless_id(config), "the rows in results/reference/ are of an earlier protocol"
    algo, data = config["chosen"]["algo"], config["chosen"]["data"]
    assert f"{algo}_{data}" == (known.protocol.name if known.protocol else f"{algo}_{data}")
    assert known.hours > 0


def test_every_experiment_has_an_entry() -> None:
    files = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    assert set(experiments()) == files, "metarun/reporting/reference/experiments.yaml lists them"
