"""Data sets: examples grouped by class, the classes split into meta-train, meta-val and meta-test; numpy only."""

from metarun.data.audio import Audio
from metarun.data.entities import EntityDataset
from metarun.data.environments import EnvironmentFamily
from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, Split
from metarun.data.fsdd import Fsdd
from metarun.data.functions import FunctionFamily
from metarun.data.gaussian_process import GaussianProcess
from metarun.data.glyphs import Glyphs
from metarun.data.image_folder import ImageFolder
from metarun.data.mixed_datasets import MixedDatasets
from metarun.data.mixture import Mixture
from metarun.data.movielens import MovieLens
from metarun.data.navigation2d import Navigation2D
from metarun.data.omniglot import Omniglot
from metarun.data.parkinsons import Parkinsons
from metarun.data.plants import Plants
from metarun.data.polynomial import Polynomial
from metarun.data.regression_table import RegressionTable
from metarun.data.sinusoid import Sinusoid
from metarun.data.source import DataSource
from metarun.data.table import Table
from metarun.data.tasksets import Tasksets
from metarun.data.text import Text

__all__ = [
    "SPLITS",
    "Audio",
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
    "Tasksets",
    "Text",
]
