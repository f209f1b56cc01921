"""Methods, one per file, each written for one task as its paper writes it."""

from typing import TYPE_CHECKING

from metarun.algorithms.algorithm import Adapted, Algorithm
from metarun.algorithms.inner_loop import GradientMethod
from metarun.algorithms.method import Method
from metarun.algorithms.policy_method import PolicyGradientMethod, PolicyMethod
from metarun.system.lazy_names import lazy_names
from metarun.tasks.stream import Kind

if TYPE_CHECKING:
    from metarun.algorithms.anil import ANIL
    from metarun.algorithms.attentive_np import AttentiveNP
    from metarun.algorithms.baseline import Baseline
    from metarun.algorithms.baselinepp import BaselinePP
    from metarun.algorithms.caml import CAML
    from metarun.algorithms.cavia import CAVIA
    from metarun.algorithms.cnp import CNP
    from metarun.algorithms.finetune import FineTune
    from metarun.algorithms.finetune_rl import FineTuneRL
    from metarun.algorithms.imaml import IMAML
    from metarun.algorithms.in_context import InContext
    from metarun.algorithms.learn2learn.anil import Learn2LearnANIL
    from metarun.algorithms.learn2learn.maml import Learn2LearnMAML
    from metarun.algorithms.learn2learn.metasgd import Learn2LearnMetaSGD
    from metarun.algorithms.maml import MAML
    from metarun.algorithms.maml_rl import MAMLRL
    from metarun.algorithms.mamlpp import MAMLPlusPlus
    from metarun.algorithms.matching import MatchingNet
    from metarun.algorithms.memory_format import to_channels_last
    from metarun.algorithms.metaoptnet import MetaOptNet
    from metarun.algorithms.metasgd import MetaSGD
    from metarun.algorithms.multitask import Multitask
    from metarun.algorithms.nearest_centroid import NearestCentroid
    from metarun.algorithms.neural_process import NeuralProcess
    from metarun.algorithms.pmf import PMF
    from metarun.algorithms.promp import ProMP
    from metarun.algorithms.prompt import Prompt
    from metarun.algorithms.protonet import ProtoNet
    from metarun.algorithms.r2d2 import R2D2
    from metarun.algorithms.random_policy import RandomPolicy
    from metarun.algorithms.relation import RelationNet
    from metarun.algorithms.reptile import Reptile
    from metarun.algorithms.rl2 import RL2
    from metarun.algorithms.rotation import Rotation
    from metarun.algorithms.simclr import SimCLR
    from metarun.algorithms.simpleshot import SimpleShot
    from metarun.algorithms.stepless import Stepless
    from metarun.algorithms.transfer import load_from_other_method
    from metarun.algorithms.transformer_np import TransformerNP
else:
    __getattr__ = lazy_names(__name__)

__all__ = [
    "ANIL",
    "CAML",
    "CAVIA",
    "CNP",
    "IMAML",
    "MAML",
    "MAMLRL",
    "PMF",
    "R2D2",
    "RL2",
    "Adapted",
    "Algorithm",
    "AttentiveNP",
    "Baseline",
    "BaselinePP",
    "FineTune",
    "FineTuneRL",
    "GradientMethod",
    "InContext",
    "Kind",
    "Learn2LearnANIL",
    "Learn2LearnMAML",
    "Learn2LearnMetaSGD",
    "MAMLPlusPlus",
    "MatchingNet",
    "MetaOptNet",
    "MetaSGD",
    "Method",
    "Multitask",
    "NearestCentroid",
    "NeuralProcess",
    "PolicyGradientMethod",
    "PolicyMethod",
    "ProMP",
    "Prompt",
    "ProtoNet",
    "RandomPolicy",
    "RelationNet",
    "Reptile",
    "Rotation",
    "SimCLR",
    "SimpleShot",
    "Stepless",
    "TransformerNP",
    "load_from_other_method",
    "to_channels_last",
]
