"""The sentence about code that is not trusted names `trust=[NAME,…]`, which works in every command that prints it."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarun.cli.trust import split_trust
from metarun.config.overrides import hydra_overrides

OWN = """
from metarun.algorithms import ProtoNet


class Mine(ProtoNet):
    pass
"""


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["a"], []),
        (["a", "trust=[]"], []),
        (["trust=own.Mine", "a"], ["own.Mine"]),
        (["--flag", "trust=[own.Mine, own.Network]", "a"], ["own.Mine", "own.Network"]),
        (["a", "trust=['~/own:Mine',b]", "trust=c"], ["~/own:Mine", "b", "c"]),
    ],
)
def test_the_names_are_found_wherever_they_stand(monkeypatch, words, names):
    monkeypatch.setattr(sys, "path", [])
    assert split_trust(words) == ([word for word in words if not word.startswith("trust=")], names)
    assert sys.path == ([str(Path.cwd())] if names else [])


def test_one_name_needs_no_brackets_under_hydra():
    settings = ["trust=own.Mine", "trust=own.Mine,own.Network", "trust=[own.Mine]"]
    expected = ["trust=[own.Mine]", "trust=[own.Mine,own.Network]", "trust=[own.Mine]"]
    assert hydra_overrides(settings, []) == expected


def write_pictures() -> None:
    """Write two pictures of each of two classes."""
    rng = np.random.default_rng(0)
    for name in ("alpha/0", "alpha/1", "beta/0", "beta/1"):
        path = Path("support", f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(path)


def test_every_command_takes_what_its_sentence_names(metarun):
    Path("own.py").write_text(OWN)
    write_pictures()
    words = ["algo=protonet", "algo._target_=own.Mine", "backbone.filters=4", "train.iterations=0", "test.tasks=2"]
    assert metarun("train", *words, "train.validate_tasks=1", "train.way=5").code == 0
    (run,) = Path("results/runs").iterdir()
    code, _, sentence = metarun("adapt", f"run={run}", "support=support")
    assert code == 2
    (named,) = re.findall(r"if you trust this code, add `(.*)`", sentence)
    assert metarun("adapt", named, f"run={run}", "--steps", "0", "support=support").code == 0
    for command in (
        ["predict", "learner.npz", "support", "--invert"],
        ["predict", f"run={run}", "support=support", "query=support", "--invert"],
        ["rerun", str(run), "--results-dir", "results"],
        ["publish", f"run={run}", "-o", "run.zip"],
    ):
        without, with_it = metarun(*command), metarun(*command, named)
        assert with_it.code == 0, with_it.err
        assert command[0] == "publish" or f"add `{named}`" in without.err
    export = ["export", f"run={run}", "format=torch", "--tasks", "0"]
    assert f"add `{named}`" in metarun(*export).err
    assert "--tasks=0 but at least 1" in metarun(*export, named).err, "the run is loaded before"
    assert metarun("test", f"run={run}", "test.tasks=3", "trust=own.Mine").code == 0
    assert "write trust=own.Mine, without dashes" in metarun("test", f"run={run}", "--trust", "own.Mine").err


def test_a_command_that_cannot_trust_code_does_not_offer_it(metarun):
    Path("own.py").write_text(OWN)
    small = ["backbone.filters=4", "train.iterations=0", "test.tasks=2", "train.validate_tasks=1", "train.way=5"]
    assert metarun("train", "algo=protonet", "algo._target_=own.Mine", *small).code == 0
    clustered = ["task.labels=clusters", "task.clusters=40", "task.embedding=last"]
    code, _, sentence = metarun("train", "algo=protonet", *small, *clustered)
    assert (code, "consent; use a run without such code." in sentence) == (2, True), sentence
