"""`train.compile`: when blocks are compiled, without compiling any."""

import logging

import pytest
import torch

from metarun.backbones.fused import is_compiled
from metarun.config.run_id import run_id
from metarun.errors import UserError
from metarun.runner import compiled_blocks
from metarun.runner.compiled_blocks import choose_blocks
from tests.runner.test_components import build_algorithm, config

CPU = torch.device("cpu")


def chosen(choice, iterations=1000, device=CPU, **keys):
    made = {**config("protonet"), **keys}
    made["train"] = {**made["train"], "compile": choice, "iterations": iterations}
    algorithm = build_algorithm(made)
    choose_blocks(algorithm, made, device)
    return is_compiled(algorithm)


@pytest.fixture
def compiler(monkeypatch):
    monkeypatch.setattr(compiled_blocks, "why_not_compiled", lambda: None)


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(compiled_blocks, "why_not_compiled", lambda: "there is no C++ compiler")


@pytest.mark.parametrize(
    ("choice", "iterations", "expected"),
    [("auto", 1000, True), ("auto", None, True), ("auto", 10, False), (True, 10, True), (False, 1000, False)],
)
@pytest.mark.usefixtures("compiler")
def test_auto_compiles_for_runs_that_are_long_enough(choice, iterations, expected):
    assert chosen(choice, iterations) == expected


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_auto_uses_torch_and_true_is_refused(caplog):
    with caplog.at_level(logging.INFO):
        assert not chosen("auto")
    assert "slower than compiled blocks: there is no C++ compiler" in caplog.text
    with pytest.raises(UserError, match=r"^train\.compile=true is not possible: there is no C\+\+ compiler; install g"):
        chosen(True)
    with pytest.raises(UserError, match=r"^train\.compile='sideways' is not one of auto, true, false\.$"):
        chosen("sideways")


@pytest.mark.usefixtures("compiler")
def test_true_says_where_it_has_no_effect(caplog):
    with caplog.at_level(logging.INFO):
        assert not chosen(True, device=torch.device("cuda"))
        assert not chosen(True, precision="bf16")
    assert "no effect: it is for device=cpu, not cuda" in caplog.text
    assert "no effect: it is for precision=float32 and float64" in caplog.text


def test_the_id_does_not_depend_on_it():
    made = config("protonet")
    ids = {run_id({**made, "train": {**made["train"], "compile": choice}}) for choice in (True, False, "auto")}
    without = {key: value for key, value in made["train"].items() if key != "compile"}
    assert ids == {run_id({**made, "train": without})}
