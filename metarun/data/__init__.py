"""Data sets: examples grouped by class, the classes split into meta-train, meta-val and meta-test; numpy only."""

from typing import TYPE_CHECKING

from metarun.data.environments.family import EnvironmentFamily
from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, Split
from metarun.data.functions.family import FunctionFamily
from metarun.data.mixed_datasets import MixedDatasets
from metarun.data.source import DataSource
from metarun.data.tables.entities import EntityDataset
from metarun.system.lazy_names import lazy_names

if TYPE_CHECKING:
    from metarun.data.environments.bandits import Bandits
    from metarun.data.environments.locomotion import Locomotion
    from metarun.data.environments.metaworld import MetaWorld
    from metarun.data.environments.navigation2d import Navigation2D
    from metarun.data.environments.tabular_mdp import TabularMDP
    from metarun.data.functions.gaussian_process import GaussianProcess
    from metarun.data.functions.polynomial import Polynomial
    from metarun.data.functions.sinusoid import Sinusoid
    from metarun.data.mixture import Mixture
    from metarun.data.pictures.glyphs import Glyphs
    from metarun.data.pictures.image_folder import ImageFolder
    from metarun.data.pictures.omniglot import Omniglot
    from metarun.data.pictures.tasksets import Tasksets
    from metarun.data.sounds.audio import Audio
    from metarun.data.sounds.fsdd import Fsdd
    from metarun.data.tables.movielens import MovieLens
    from metarun.data.tables.parkinsons import Parkinsons
    from metarun.data.tables.plants import Plants
    from metarun.data.tables.regression_table import RegressionTable
    from metarun.data.tables.table import Table
    from metarun.data.texts.text import Text
else:
    __getattr__ = lazy_names(__name__)

__all__ = [
    "SPLITS",
    "Audio",
    "Bandits",
    "ClassDataset",
    "DataSource",
    "EntityDataset",
    "EnvironmentFamily",
    "ExampleGroups",
    "Examples",
    "Fsdd",
    "FunctionFamily",
    "GaussianProcess",
    "Glyphs",
    "ImageFolder",
    "Locomotion",
    "MetaWorld",
    "MixedDatasets",
    "Mixture",
    "MovieLens",
    "Navigation2D",
    "Omniglot",
    "Parkinsons",
    "Plants",
    "Polynomial",
    "RegressionTable",
    "Sinusoid",
    "Split",
    "Table",
    "TabularMDP",
    "Tasksets",
    "Text",
]
