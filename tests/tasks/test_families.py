"""A user's families of functions: checked when loaded, and hashed with their code."""

import copy
import datetime
import functools
import importlib
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from metarun.data import Sinusoid
from metarun.errors import UserError
from metarun.runner.components import Parts
from metarun.tasks.batch import TaskShape
from metarun.tasks.families import check_family, family_hash
from metarun.tasks.function_stream import FunctionTaskStream
from metarun.tasks.stream import StreamSpec

LINES = """\
from slopes import STEEP

from metarun.data import Sinusoid


class Lines(Sinusoid):
    def outputs(self, parameters, x):
        return STEEP * parameters[..., 0:1] * x
"""


def stream_of(family) -> FunctionTaskStream:
    return FunctionTaskStream(family, StreamSpec("train", TaskShape(1, 3, 2), 0, torch.device("cpu"), torch.float32))


@pytest.fixture
def lines_of(tmp_path, monkeypatch):
    """Return a function that writes the modules of a family of lines and imports it."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(steep: str = "2", code: str = LINES):
        (tmp_path / "slopes.py").write_text(f"STEEP = {steep}\n")
        (tmp_path / "my_lines.py").write_text(code)
        for name in ("slopes", "my_lines"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("my_lines").Lines()

    yield make
    for name in ("slopes", "my_lines"):
        sys.modules.pop(name, None)


def power(x, degree):
    return x**degree


class Slotted:
    __slots__ = ("slope",)

    def __init__(self, slope):
        self.slope = slope


class Holding(Sinusoid):
    """A family whose tasks depend on an attribute."""

    def __init__(self, held):
        super().__init__()
        self.held = held

    def outputs(self, parameters, x):
        return parameters[..., 0:1] * x


def net(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Linear(1, 3)


def raised_to(degree):
    return lambda x: x**degree


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (net(0), net(1)),
        (functools.partial(power, degree=1), functools.partial(power, degree=2)),
        (range(1, 2), range(1, 4)),
        (raised_to(1), raised_to(2)),
        (Slotted(1), Slotted(2)),
        (Slotted, Holding),
        (Fraction(1, 2), Fraction(1, 3)),
        (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)),
    ],
    ids=["network", "partial", "range", "closure", "slots", "class", "fraction", "date"],
)
def test_everything_a_family_holds_is_in_its_hash(one, other):
    assert family_hash(Holding(one)) == family_hash(Holding(copy.deepcopy(one)))
    assert family_hash(Holding(one)) != family_hash(Holding(other))


STEEPNESS = {}


def test_different_drawn_values_give_different_hashes():
    class Hidden(Sinusoid):
        def outputs(self, parameters, x):
            return STEEPNESS["now"] * x

    hashes = []
    for STEEPNESS["now"] in (1.0, 2.0):
        hashes.append(family_hash(Hidden()))
    assert len(set(hashes)) == 2


def test_a_familys_hash_covers_its_code_imports_and_attributes(lines_of):
    hashes = [stream_of(Sinusoid()).hash(5), stream_of(lines_of()).hash(5)]
    hashes += [stream_of(lines_of(code=LINES.replace("* x", "- x"))).hash(5), stream_of(lines_of("3.0")).hash(5)]
    changed = lines_of()
    assert stream_of(changed).hash(5) == hashes[1], "the same code has the same hash"
    for table in (np.arange(3), np.arange(4), [1, {"a": torch.ones(2)}], [1, {"a": torch.zeros(2)}]):
        changed.table = table
        hashes.append(stream_of(changed).hash(5))
    assert len(set(hashes)) == len(hashes)


def test_the_hash_of_the_builtin_family_does_not_change():
    assert family_hash(Sinusoid()) == Sinusoid().hash == KNOWN
    assert stream_of(Sinusoid()).hash(3) == KNOWN_STREAM


KNOWN = "20dfc04bc5501c6940690faf5aa91f51f26d219e8dd44a37474d061cb61da417"
KNOWN_STREAM = "0583b1b828f179ebf2d54cb1bf34e49073e51369f641dffbb89c2bd3e2a8bf2d"


class Wrong(Sinusoid):
    """A sinusoid with some attributes replaced."""

    def __init__(self, **other) -> None:
        super().__init__()
        for name, value in other.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"shape": (1, 28)},
            r"Wrong\.shape is \(1, 28\) but a point of a function is \(inputs,\) numbers",
        ),
        ({"shape": (0,)}, r"Wrong\.shape is \(0,\) but a point"),
        ({"shape": (2,)}, r"Wrong\.outputs\(\) returns shape \(100, 2, 2\) but it must return \(100, 2, 1\)"),
        ({"output_count": 1.5}, r"Wrong\.output_count is 1.5 but it must be an integer of at least 1"),
        ({"support_noise": -1}, r"Wrong\.support_noise is -1 but it must be a number of at least 0"),
        ({"for_split": lambda s: {}[s]}, r"Wrong has no functions for train \(KeyError: 'train'\); set HYDRA_FULL"),
        ({"for_split": lambda s: None}, "NoneType is not a family of functions"),
        ({"parameter_count": 0}, r"Wrong\.parameter_count is 0 but it must be an integer of at least 1"),
        ({"outputs": None}, "Wrong is not a family of functions: it has no outputs"),
        ({"name": 5}, r"Wrong\.name is of type int but it must be a string"),
        (
            {"outputs": lambda p, x: x[..., 0]},
            r"Wrong\.outputs\(\) returns shape \(100, 2\) but it must return \(100, 2, 1\)",
        ),
        ({"outputs": lambda p, x: x.log()}, r"Wrong\.outputs\(\) returns a number that is not finite"),
        ({"outputs": lambda p, x: x.numpy()}, r"Wrong\.outputs\(\) returns a ndarray but it must return a tensor"),
        ({"inputs": lambda u: u / 0}, r"Wrong\.inputs\(\) returns a number that is not finite"),
        ({"parameters": lambda u: u[0]}, r"Wrong\.parameters\(\) returns shape \(2,\) but it must return \(100, 2\)"),
        (
            {"parameters": lambda u: {}["a"]},
            r"Wrong cannot draw a function \(KeyError: 'a'\); set HYDRA_FULL_ERROR=1",
        ),
    ],
)
def test_invalid_families_are_refused(other, message):
    with pytest.raises(UserError, match=message):
        stream_of(Wrong(**other))


def test_missing_and_mistyped_attributes_are_reported():
    class Numbered(Sinusoid):
        hash = 7

    with pytest.raises(UserError, match=r"Numbered\.hash is of type int but it must be a string"):
        check_family(Numbered())
    with pytest.raises(
        UserError, match="dict is not a family of functions: it has no parameters, inputs, outputs, name, "
    ):
        check_family({})


class Fails:
    """A user's source that fails when it is created or loaded."""

    def __init__(self, made: bool = True) -> None:
        if not made:
            raise RuntimeError("no luck\nat all.")

    def load(self):
        return np.load("/nowhere/at/all.npy")


class Empty(Fails):
    def load(self):
        return None


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {"_target_": "tests.tasks.test_families.Fails"},
            r"Fails cannot be loaded \(FileNotFoundError: .*; set HYDRA_FULL_ERROR=1",
        ),
        (
            {"_target_": "tests.tasks.test_families.Fails", "made": False},
            r"cannot be created \(RuntimeError: no luck at all\); set H",
        ),
        (
            {"_target_": "tests.tasks.test_families.Empty"},
            "NoneType is not a family of functions: .*or return a metarun",
        ),
        (
            {"_target_": "tests.tasks.test_families.stream_of", "family": 1},
            "int is not a family of functions: it has no",
        ),
    ],
)
def test_errors_of_a_users_source_are_reported_in_one_sentence(node, message):
    with pytest.raises(UserError, match=message):
        _ = Parts({"data": node}).source
