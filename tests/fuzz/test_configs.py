"""Keys and values of a config: on the command line, in the user's YAML files, and when objects are built."""

import copy
import shutil
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.run_id import run_id
from metarun.config.schema import register
from metarun.errors import UserError
from metarun.runner.components import Parts
from metarun.runner.finished import directory_of
from metarun.runner.train import _make_training
from metarun.training.distributed import SINGLE_PROCESS
from tests.fuzz.inputs import ALL, tiers, try_inputs
from tests.fuzz.nested import at, paths, put
from tests.fuzz.sandbox import accepted_or_refused, command
from tests.fuzz.strange import FOREIGN, HUGE, NUMBERS, TEXTS, VALUES, dumped, spoilt
from tests.support.fake_images import split_folders, write_folder

pytestmark = pytest.mark.command

SIZES = [f"{part}.{size}" for part in ("task", "train") for size in ("way=2", "shot=1", "query=1")]
SMALL = [*SIZES, "data=image_folder", "data.root=pictures", "data.size=8"]
FUNCTION = ["data=sinusoid", "task=10points"]
NETWORK = ["backbone=mlp", "backbone.hidden=[4]"]
CONFIGS = [
    *(
        [f"algo={algo}", *SMALL, *NETWORK]
        for algo in ("maml", "anil", "metasgd", "mamlpp", "reptile", "imaml", "protonet")
    ),
    *(
        [f"algo={algo}", *SMALL, *NETWORK]
        for algo in ("matching", "r2d2", "metaoptnet", "baseline", "baselinepp", "simpleshot")
    ),
    *([f"algo={algo}", *SMALL, *NETWORK] for algo in ("finetune", "nearest_centroid")),
    *([f"algo={algo}", *FUNCTION] for algo in ("maml", "reptile", "anil")),
    ["algo=cavia", *SMALL, "backbone=conv4", "backbone.filters=4", "data.size=16"],
    ["algo=relation", *SMALL, "backbone=conv4", "backbone.filters=4", "data.size=28", "backbone.downsample=pool_twice"],
]


WORDS_OF_CONFIGS = [
    *("cpu", "auto", "meta", "cuda", "cuda:99", "mps", "xla", "privateuseone", "cpu:3", "float32", "bf16", "float64"),
    *("batch", "layer", "group", "none", "running", "per_task", "loop", "vectorised", "sgd", "adam", "cosine"),
    *("open", "closed", "90s", "1e5s", "9" * 400 + "d", "0s", "${seed}", "${task}", "${nope}", "${oc.env:NOPE}"),
    *(
        "metarun.algorithms.MAML",
        "metarun.data.Glyphs",
        "metarun.backbones.MLP",
        "metarun.runner.train.train",
        "metarun.cli.main",
    ),
    *("os.system", "builtins.dict", "builtins.print", "torch.nn.Identity", "torch.nn.Linear", "pathlib.Path"),
]


ALWAYS = ("train.meta_batch=1", "device=cpu", "chosen.algo=a", "chosen.data=b", "chosen.backbone=c")


@cache
def composed(*words: str, name: str = "config") -> dict[str, Any]:
    """A config as plain values, before interpolations are resolved."""
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        plain = OmegaConf.to_container(compose(name, list(words)))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key != "hydra"}


def instead_of(value: Any) -> st.SearchStrategy[Any]:
    """Strange values, most of them of the expected type."""
    if isinstance(value, bool) or value is None:
        return st.one_of(st.booleans(), NUMBERS, TEXTS)
    if isinstance(value, int | float):
        return st.one_of(NUMBERS, NUMBERS, st.integers(-1, 5), st.floats(0, 1), VALUES)
    return st.one_of(st.sampled_from(WORDS_OF_CONFIGS), TEXTS, VALUES)


@st.composite
def strange_configs(draw: Any) -> dict[str, Any]:
    """A config with one or two changed values."""
    config = copy.deepcopy(composed(*draw(st.sampled_from(CONFIGS)), *ALWAYS))
    for path in draw(st.lists(st.sampled_from(paths(config)), min_size=1, max_size=2)):
        put(config, path, draw(instead_of(at(config, path))))
    return config


@pytest.fixture
def pictures(sandbox: Path) -> Path:
    """A data set. Two configs are built before the watch starts, since torch imports modules when it is used."""
    folder = write_folder(sandbox / "pictures", split_folders(count=3, size=8))
    for words in (CONFIGS[0], CONFIGS[-1]):
        make(composed(*words, *ALWAYS))
    return folder


def make(config: dict[str, Any]) -> None:
    """Build everything that `metarun train` builds before its first step."""
    try:
        created = OmegaConf.create(config)
    except OmegaConfBaseException as error:  # Hydra would report this
        raise UserError(str(error)) from error
    resolved = resolve(created)
    directory_of(resolved, run_id(resolved))
    _make_training(Parts(resolved), SINGLE_PROCESS)


@tiers
def test_a_config_is_built_or_refused_with_a_message(tier: str, pictures: Path) -> None:
    try_inputs(tier, 0.03, lambda config: accepted_or_refused(lambda: make(config)), config=strange_configs())


EDGES = [0, -1, 1, 2**31, HUGE, 1.5, -1e300, float("nan"), True, None, "x", [], [0], [-1], {}]


@pytest.mark.slow
@pytest.mark.parametrize("words", CONFIGS, ids=lambda words: " ".join(words[:2]))
def test_edge_values_are_accepted_or_refused_with_a_message(words: list[str], pictures: Path) -> None:
    """Every key in turn, which random draws do not cover: all of them in `make fuzz`, a share in CI."""
    whole = composed(*words, *ALWAYS)
    own = [path for path in paths(whole) if words == CONFIGS[0] or path[0] in ("algo", "backbone")]
    for path, value in [*product(own, EDGES)][:: max(1, 10_000 // ALL)]:
        config = copy.deepcopy(whole)
        put(config, path, value)
        try:
            accepted_or_refused(lambda config=config: make(config))
        except Exception as error:
            error.add_note(f"{'.'.join(path)}={value!r}")
            raise


WORDS = st.one_of(
    st.builds(
        "{}{}={}".format,
        st.sampled_from(["", "", "", "+", "++"]),
        st.sampled_from([".".join(path) for path in paths(composed(*SMALL, *ALWAYS))]),
        st.one_of(TEXTS, NUMBERS),
    ),
    st.builds(
        "{}={}".format,
        st.sampled_from(
            ["algo", "data", "task", "backbone", "recipe", "experiment", "+sweep", "logger", "hydra/launcher"]
        ),
        TEXTS,
    ),
    st.sampled_from(
        [
            "-m",
            "--multirun",
            "--info",
            "--package",
            "--config-name",
            "--config-dir",
            "-cp",
            "--resolve",
            "--version",
            "-h",
            "~algo",
            "~train.meta_batch",
        ]
    ),
    st.sampled_from(
        [
            "seed=range(0,10**9)",
            "seed=range(1,1000000000)",
            "seed=" + "[" * 2_000,
            "seed=" + "(" * 500,
            "seed=" + "{a:" * 300,
        ]
    ),
    st.sampled_from(
        [
            "seed=choice(1,2)",
            "seed=glob(*)",
            "seed=int(a)",
            "seed=${seed}",
            "seed=${oc.env:HOME}",
            "a=${" * 300,
            "seed=${by_way:5}",
        ]
    ),
    st.sampled_from(
        [
            "hydra.mode=MULTIRUN",
            "hydra.run.dir=../outside",
            "hydra.searchpath=[file:///]",
            "hydra.job.name=a/b",
            "hydra.output_subdir=x",
        ]
    ),
    TEXTS,
)


@tiers
def test_overrides_are_accepted_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(verb: str, words: list[str]) -> None:
        command(verb, "--cfg", "job", *(word.replace("\0", "") for word in words))

    try_inputs(
        tier,
        0.06,
        check,
        verb=st.sampled_from(["train", "train", "test"]),
        words=st.lists(WORDS, min_size=1, max_size=3),
    )


OWN = st.one_of(
    FOREIGN.filter(
        lambda content: b"*" not in content
    ),  # Hydra expands aliases; a config file that the user names is trusted
    dumped(st.fixed_dictionaries({"defaults": VALUES, "_target_": TEXTS})),
    dumped(st.dictionaries(st.one_of(TEXTS, st.integers(), st.none(), st.booleans()), VALUES, max_size=3)),
    spoilt(st.just(b"# @package _global_\ndefaults:\n  - /data: glyphs\n  - _self_\nsplit: ${seed}\n")),
    st.builds(lambda text: b"# @package " + text.encode("utf-8", "replace") + b"\na: 1\n", TEXTS),
    st.sampled_from(
        [
            b"defaults:\n  - mine\n",
            b"defaults:\n  - /data: mine\n",
            b"defaults:\n  - _self_\n  - _self_\n",
            b"defaults: 5\n",
        ]
    ),
    st.sampled_from(
        [
            b"a: ${a}\n",
            b"a: ${b}\nb: ${a}\n",
            b"a: ${nope:1}\n",
            b"a: ${..seed}\n",
            b"_target_: ${data._target_}\n",
            b"a: ???\n",
        ]
    ),
)


@tiers
def test_a_users_file_is_accepted_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(content: bytes, group: str) -> None:
        shutil.rmtree("own", ignore_errors=True)
        (sandbox / "own" / group).mkdir(parents=True)
        (sandbox / "own" / group / "mine.yaml").write_bytes(content)
        command("train", "--config-dir", "own", f"{group}=mine", "--cfg", "job", "--resolve")

    try_inputs(tier, 0.04, check, content=OWN, group=st.sampled_from(["data", "algo", "task", "experiment"]))
