"""Every recipe resolves, builds its parts and draws its tasks from data of the right shape."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.schema import register
from metarun.data import SPLITS, ClassDataset, EntityDataset, Examples, GaussianProcess, Sinusoid
from metarun.data.tables.entities import row_dtype
from metarun.runner.components import Parts
from metarun.runner.head_check import check_head
from metarun.tasks.batch import TaskShape
from metarun.tasks.source import task_source

pytestmark = pytest.mark.slow
FILES = sorted(path.stem for path in (Path(config_dir()) / "recipe").glob("*.yaml"))
# Whole commands run these: tests/commands/test_policies.py, test_smoke.py, test_robots.py, test_metaworld.py.
ENVIRONMENTS = ("_navigation2d", "_bandits", "_tabular_mdp", "_halfcheetah_direction", "_metaworld_ml1")
RECIPES = [name for name in FILES if not name.endswith(ENVIRONMENTS)]
BORROWED = ["maml_caltech101", "protonet_caltech101", "maml_image_folder"]
DATA = sorted(path.stem for path in (Path(config_dir()) / "data").glob("*.yaml"))
SHAPES = {"glyphs": (1, 28, 28), "omniglot": (1, 28, 28), "fsdd": (1, 32, 64), "plants": (64,)}
FAMILIES = {"sinusoid": Sinusoid, "gp": GaussianProcess}
ENTITIES = {"parkinsons": (19, 2), "movielens": (21, 1)}  # inputs and targets; the others are photographs


@cache
def synthetic(data: str) -> ClassDataset | EntityDataset | Sinusoid | GaussianProcess:
    """64 classes of 30 black pictures or rows in every split, or a family of functions."""
    if data in FAMILIES:
        return FAMILIES[data]()
    if data in ENTITIES:
        values = np.zeros(64 * 30, row_dtype(*ENTITIES[data]))
    else:
        values = np.zeros((64 * 30, *SHAPES.get(data, (3, 84, 84))), np.uint8)
    offsets = np.arange(0, len(values) + 1, 30)
    splits = {which: Examples(values, offsets, tuple(f"{which} {c}" for c in range(64))) for which in SPLITS}
    made = ClassDataset(data, splits)
    return EntityDataset(made) if data in ENTITIES else made


def parts_of(recipe: str, *overrides: str) -> Parts:
    data = next(data for data in DATA if recipe.endswith(f"_{data}"))
    algo = recipe.removesuffix(f"_{data}")
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        chosen = [f"chosen.algo={algo}", f"chosen.data={data}", "chosen.backbone=of_the_data", "device=cpu"]
        config = compose("config", [f"algo={algo}", f"data={data}", *chosen, *overrides])
    parts = Parts(resolve(config))
    parts.raw = task_source(synthetic(data))
    return parts


@pytest.mark.parametrize("recipe", [*RECIPES, *BORROWED])
def test_a_recipe_builds(recipe):
    parts = parts_of(recipe, "task.shot=5")
    train = parts.config["train"]
    shape = TaskShape(train["way"], train["shot"], train["query"])
    check_head(parts, shape)
    assert parts.schedule.validate_every <= (parts.schedule.iterations or np.inf)
    assert len(parts.stream("train", shape, 0).draw(0, 1)) == 1
    assert len(parts.stream("val", parts.test_shape, 0).draw(0, 1)) == 1
    assert sum(weight.numel() for weight in parts.algorithm.parameters()) > 0


@pytest.mark.parametrize("recipe", ["maml_miniimagenet", "protonet_miniimagenet"])
def test_the_networks_are_as_large_as_in_the_papers_code(recipe):
    """MAML: 32 filters and a head on 5x5 maps; ProtoNet: 64 filters, no head."""
    expected = {"maml_miniimagenet": 28_896 + 800 * 5 + 5, "protonet_miniimagenet": 113_088}
    assert sum(weight.numel() for weight in parts_of(recipe).algorithm.parameters()) == expected[recipe]
