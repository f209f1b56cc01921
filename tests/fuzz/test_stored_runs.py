"""Untrusted run directories, tested by `metarun test` and resumed by `metarun train`."""

import copy
import io
import json
import pickle
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from metarun.config.compose import resolve
from metarun.config.run_id import run_id
from metarun.results import provenance
from metarun.runner.retest import retest
from metarun.runner.train import train
from metarun.training import checkpoint
from tests.fuzz.inputs import tiers, try_inputs
from tests.fuzz.nested import at, paths, put
from tests.fuzz.sandbox import accepted_or_refused
from tests.fuzz.strange import FOREIGN, NUMBERS, TEXTS, VALUES, spoilt
from tests.fuzz.strange_runs import strange_rows
from tests.fuzz.test_configs import ALWAYS, NETWORK, SMALL, composed
from tests.support.fake_images import split_folders, write_folder

pytestmark = pytest.mark.command

WORDS = [
    *("algo=maml", *SMALL, *NETWORK, "algo.inner_steps=1", "test.steps=1", "test.tasks=2", "train.validate_tasks=2"),
    *("train.iterations=2", "train.validate_every=1", "train.over_tasks=loop"),
]
TRAINED = Path("trained")  # the unchanged files of a run


def silently(work: Callable[[], Any]) -> Any:
    """Run a function without its output."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return work()


def requested(run: Path) -> DictConfig:
    """The config of `metarun test run=…`."""
    words = ("test.tasks=2", "device=cpu", "chosen.algo=null", "chosen.data=null")
    return OmegaConf.create({**composed(*words, "run=x", name="test"), "run": str(run)})


@pytest.fixture
def config(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> DictConfig:
    """The config of a tiny run, which is executed once before the watch starts."""
    monkeypatch.setattr(provenance, "_git", lambda *_: None)  # the only program that metarun starts
    write_folder(sandbox / "pictures", split_folders(count=3, size=8))
    config = OmegaConf.create(composed(*WORDS, *ALWAYS))
    path = silently(lambda: train(config))
    silently(lambda: retest(requested(path)))
    shutil.copytree(path, TRAINED)
    (TRAINED / "SHA256SUMS").unlink()  # an attacker can remove it; tests/faults keeps it
    shutil.rmtree("results")
    return config


def restored(config: DictConfig) -> Path:
    """Restore the run, and nothing else."""
    shutil.rmtree("results", ignore_errors=True)
    path = Path("results/runs") / f"a-b-2w1s-{run_id(resolve(config))}"
    shutil.copytree(TRAINED, path)
    return path


class Malice:
    """Creates a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (Path("executed"),)


def packed(state: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


PLAIN = [None, 5, "x", [], {}, torch.zeros(3), torch.full((4, 4), torch.nan), -1, 10**12, float("nan"), True]
OF_TENSORS: list[Callable[[Tensor], Tensor]] = [
    *(lambda value: value * torch.nan, Tensor.double, Tensor.flatten, Tensor.int, Tensor.bfloat16),
    *(lambda value: value.to(torch.complex64), Tensor.to_sparse, lambda _: torch.zeros(1).expand(10**12)),
]


@st.composite
def strange_states(draw: Any, whole: dict[str, Any]) -> bytes:
    """A checkpoint with changed values, with or without a matching checksum."""
    state = copy.deepcopy(whole)
    for path in draw(st.lists(st.sampled_from(paths(state)), min_size=1, max_size=2, unique=True)):
        value = at(state, path)
        kinds = [lambda _, item=item: item for item in PLAIN] + (OF_TENSORS if isinstance(value, Tensor) else [])
        put(state, path, draw(st.sampled_from(kinds))(value))
    try:
        stated = checkpoint.checksum(state) if draw(st.booleans()) else "0" * 64
    except Exception:  # for a tensor without plain values
        stated = "0" * 64
    return packed({**state, "checksum": stated})


def checkpoints(name: str) -> st.SearchStrategy[bytes]:
    content = (TRAINED / name).read_bytes()
    state = torch.load(TRAINED / name, weights_only=True)
    state.pop("checksum")
    if "progress" in state:  # as after the first of two steps
        curve = state["progress"]["curve"]
        state["progress"].update(iteration=1, validated_at=1, curve=curve[: len(curve) // 2])
    foreign = [
        *(
            packed(Malice()),
            packed({"algorithm": Malice()}),
            packed({**state, "more": Malice()}),
            pickle.dumps(Malice()),
        ),
        *(
            packed([]),
            packed(torch.zeros(3)),
            packed({}),
            packed(torch.nn.Linear(2, 2)),
            packed({"algorithm": {}}),
            b"",
        ),
        pickle.dumps({"algorithm": {}, "run": state["run"]}),
    ]
    return st.one_of(strange_states(state), spoilt(st.just(content)), st.sampled_from(foreign), FOREIGN)


@st.composite
def strange_stored_configs(draw: Any) -> bytes:
    """A run's config.yaml with some changed values."""
    config = yaml.safe_load((TRAINED / "config.yaml").read_text())
    for path in draw(st.lists(st.sampled_from(paths(config)), min_size=1, max_size=2)):
        put(config, path, draw(st.one_of(NUMBERS, TEXTS, VALUES)))
    return yaml.safe_dump(config, allow_unicode=True).encode("utf-8", "replace")


@tiers
def test_an_untrusted_checkpoint_is_tested_or_refused_with_a_message(tier: str, config: DictConfig) -> None:
    def check(best: bytes, last: bytes) -> None:
        path = restored(config)
        (path / "best.pt").write_bytes(best)
        (path / "last.pt").write_bytes(last)
        accepted_or_refused(lambda: silently(lambda: retest(requested(path))))
        assert not Path("executed").exists()

    try_inputs(tier, 0.03, check, best=checkpoints("best.pt"), last=checkpoints("last.pt"))


@tiers
def test_an_untrusted_record_or_config_is_tested_or_refused_with_a_message(tier: str, config: DictConfig) -> None:
    def check(name: str, content: bytes) -> None:
        path = restored(config)
        (path / name).write_bytes(content)
        accepted_or_refused(lambda: silently(lambda: retest(requested(path))))

    configs = st.tuples(st.just("config.yaml"), st.one_of(strange_stored_configs(), FOREIGN))
    rows = strange_rows(json.loads((TRAINED / "result.json").read_text())).map(lambda row: json.dumps(row).encode())
    files = st.one_of(configs, st.tuples(st.just("result.json"), st.one_of(rows, FOREIGN)))
    try_inputs(tier, 0.03, lambda file: check(*file), file=files)


@tiers
def test_a_run_resumes_or_starts_over_whatever_is_in_its_folder(tier: str, config: DictConfig) -> None:
    def check(files: dict[str, bytes]) -> None:
        path = restored(config)
        (path / "result.json").unlink()
        for name, content in files.items():
            (path / name).write_bytes(content)
        accepted_or_refused(lambda: silently(lambda: train(config)))
        assert not Path("executed").exists()

    states = {"last.pt": checkpoints("last.pt"), "previous.pt": checkpoints("last.pt")}
    others = dict.fromkeys(("environment.json", "looks.jsonl", "curve.csv", "run.log", "best.pt", ".lock"), FOREIGN)
    try_inputs(tier, 0.015, check, files=st.fixed_dictionaries({}, optional={**states, **others}))
