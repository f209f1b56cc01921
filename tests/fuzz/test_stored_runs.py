"""Run directories of anybody's, as `metarun test` judges their checkpoints and `metarun train` goes on with them."""

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
from metarun.results import provenance as environment
from metarun.runner.retest import retest
from metarun.runner.train import train
from metarun.training import checkpoint
from tests.fuzz.inputs import tiers, try_inputs
from tests.fuzz.nested import at, paths, put
from tests.fuzz.sandbox import taken_or_told
from tests.fuzz.strange import FOREIGN, NUMBERS, TEXTS, VALUES, spoilt
from tests.fuzz.strange_runs import strange_rows
from tests.fuzz.test_configs import ALWAYS, NETWORK, SMALL, composed
from tests.support.fake_images import split_folders, write_folder

pytestmark = pytest.mark.command

WORDS = [
    *("algo=maml", *SMALL, *NETWORK, "algo.inner_steps=1", "test.steps=1", "test.tasks=2", "train.validate_tasks=2"),
    *("train.iterations=2", "train.validate_every=1", "train.over_tasks=loop"),
]
TRAINED = Path("trained")  # the files of a run that nobody touches


def in_silence(work: Callable[[], Any]) -> Any:
    """Do the work of a command without what it prints."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return work()


def asked(run: Path) -> DictConfig:
    """What `metarun test run=…` asks for."""
    words = ("test.tasks=2", "device=cpu", "chosen.algo=null", "chosen.data=null")
    return OmegaConf.create({**composed(*words, "run=x", name="test"), "run": str(run)})


@pytest.fixture
def config(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> DictConfig:
    """The config of a tiny run, which is made once, before anything is watched."""
    monkeypatch.setattr(environment, "_git", lambda *_: None)  # the one program that is started
    write_folder(sandbox / "pictures", split_folders(count=3, size=8))
    config = OmegaConf.create(composed(*WORDS, *ALWAYS))
    path = in_silence(lambda: train(config))
    in_silence(lambda: retest(asked(path)))
    shutil.copytree(path, TRAINED)
    (TRAINED / "SHA256SUMS").unlink()  # whoever changes a file can take it away; tests/faults has it there
    shutil.rmtree("results")
    return config


def restored(config: DictConfig) -> Path:
    """Put the run back as it was, and nothing beside it."""
    shutil.rmtree("results", ignore_errors=True)
    path = Path("results/runs") / f"a-b-2w1s-{run_id(resolve(config))}"
    shutil.copytree(TRAINED, path)
    return path


class Malice:
    """Unpickled, it would make a folder."""

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
    """A checkpoint of which something is gone or something else, with or without the checksum of what it is now."""
    state = copy.deepcopy(whole)
    for path in draw(st.lists(st.sampled_from(paths(state)), min_size=1, max_size=2, unique=True)):
        value = at(state, path)
        kinds = [lambda _, item=item: item for item in PLAIN] + (OF_TENSORS if isinstance(value, Tensor) else [])
        put(state, path, draw(st.sampled_from(kinds))(value))
    try:
        stated = checkpoint.checksum(state) if draw(st.booleans()) else "0" * 64
    except Exception:  # of a tensor that has no plain numbers
        stated = "0" * 64
    return packed({**state, "checksum": stated})


def checkpoints(name: str) -> st.SearchStrategy[bytes]:
    content = (TRAINED / name).read_bytes()
    state = torch.load(TRAINED / name, weights_only=True)
    state.pop("checksum")
    if "progress" in state:  # as it was after the first of two steps
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
    """A run's config.yaml of which some keys hold something else."""
    config = yaml.safe_load((TRAINED / "config.yaml").read_text())
    for path in draw(st.lists(st.sampled_from(paths(config)), min_size=1, max_size=2)):
        put(config, path, draw(st.one_of(NUMBERS, TEXTS, VALUES)))
    return yaml.safe_dump(config, allow_unicode=True).encode("utf-8", "replace")


@tiers
def test_a_checkpoint_of_anybodys_is_judged_or_gets_a_sentence(tier: str, config: DictConfig) -> None:
    def check(best: bytes, last: bytes) -> None:
        path = restored(config)
        (path / "best.pt").write_bytes(best)
        (path / "last.pt").write_bytes(last)
        taken_or_told(lambda: in_silence(lambda: retest(asked(path))))
        assert not Path("executed").exists()

    try_inputs(tier, 0.03, check, best=checkpoints("best.pt"), last=checkpoints("last.pt"))


@tiers
def test_a_row_or_a_config_of_anybodys_is_judged_or_gets_a_sentence(tier: str, config: DictConfig) -> None:
    def check(name: str, content: bytes) -> None:
        path = restored(config)
        (path / name).write_bytes(content)
        taken_or_told(lambda: in_silence(lambda: retest(asked(path))))

    configs = st.tuples(st.just("config.yaml"), st.one_of(strange_stored_configs(), FOREIGN))
    rows = strange_rows(json.loads((TRAINED / "result.json").read_text())).map(lambda row: json.dumps(row).encode())
    files = st.one_of(configs, st.tuples(st.just("result.json"), st.one_of(rows, FOREIGN)))
    try_inputs(tier, 0.03, lambda file: check(*file), file=files)


@tiers
def test_a_run_goes_on_or_begins_anew_whatever_lies_in_its_folder(tier: str, config: DictConfig) -> None:
    def check(files: dict[str, bytes]) -> None:
        path = restored(config)
        (path / "result.json").unlink()
        for name, content in files.items():
            (path / name).write_bytes(content)
        taken_or_told(lambda: in_silence(lambda: train(config)))
        assert not Path("executed").exists()

    states = {"last.pt": checkpoints("last.pt"), "previous.pt": checkpoints("last.pt")}
    others = dict.fromkeys(("environment.json", "looks.jsonl", "curve.csv", "run.log", "best.pt", ".lock"), FOREIGN)
    try_inputs(tier, 0.015, check, files=st.fixed_dictionaries({}, optional={**states, **others}))
