"""Which changes of a config change the id of its run."""

import hashlib
import json
import os
import shutil
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.run_id import data_identity, run_id, with_absolute_paths
from metarun.config.schema import register
from tests.support.fake_images import split_folders, write_folder
from tests.support.markers import few_of

pytestmark = pytest.mark.command

SPLIT = '{"train": ["a"], "val": ["b"], "test": ["c"]}'


@cache
def composed(*overrides):
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = [f"chosen.{part}=x" for part in ("algo", "data", "backbone")]
        return compose("config", [*words, *overrides])


def config(*overrides):
    return resolve(composed(*overrides))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder of commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METARUN_DATA", str(tmp_path / "of metarun"))
    return tmp_path


def users_module(monkeypatch, name: str, text: str) -> None:
    Path(f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.delitem(sys.modules, name, raising=False)


# Ids of versions before the content of folders was part of an id.
EARLIER = {
    ("algo=maml",): "ac38503f",
    ("algo=protonet", "data=omniglot", "task=20way5shot"): "069abad3",
    ("algo=maml", "data=sinusoid"): "9fc2d42c",
    ("algo=protonet", "data=caltech101", "backbone=resnet12"): "8772fce8",
    ("data=omniglot", "data.split=split.json"): "34d9e567",
    ("data=image_folder", "data.root=pics.zip"): "d842a586",
    ("data=image_folder", "data.root=pics.zip", "data.split=split.json"): "a710ebaf",
    ("data=glyphs", "data.split=split.json"): "8e761e4f",
    ("algo=reptile", "backbone=module", "backbone.module._target_=own_net_xyz.Net"): "524c6d96",
    ("experiment=maml_omniglot_5w1s",): "76f1c94a",
    ("data=l2l_taskset", "data.tasksets=own_net_xyz:Net"): "28f58963",
    ("algo=l2l_maml", "data=omniglot", "task=20way1shot"): "bf5c6c8e",
    ("algo=relation", "data=glyphs"): "b5d207a2",
    ("algo=mamlpp", "data=miniimagenet"): "4fc1fc0e",
    ("algo=anil", "data=caltech101"): "ecfc5909",
    ("experiment=maml_miniimagenet_5w1s",): "9be6a4a2",
    ("experiment=maml_sinusoid_5points",): "a983580e",
    ("experiment=protonet_omniglot_5w1s",): "7f856bf2",
}


@pytest.mark.parametrize("words", few_of([[*words] for words in EARLIER], *map(list, [*EARLIER][::2])), ids=" ".join)
def test_ids_of_earlier_versions_are_unchanged(here, monkeypatch, words):
    (here / "split.json").write_text(SPLIT)
    with zipfile.ZipFile("pics.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.txt"), b"x")
    users_module(monkeypatch, "own_net_xyz", "import torch\n\n\nclass Net(torch.nn.Flatten):\n    pass\n")
    assert run_id(config(*words)) == EARLIER[tuple(words)]


@pytest.mark.parametrize(
    "word", ["train.augment=photo", "train.augment={flip:0.5}", "train.augment={flip:0.4}", "algo.label_smoothing=0.1"]
)
def test_how_examples_and_labels_are_changed_is_in_the_id(here, word):
    plain = run_id(config("algo=baseline", "data=glyphs"))
    assert plain == run_id(config("algo=baseline", "data=glyphs", "train.augment=null", "algo.label_smoothing=0.0"))
    assert run_id(config("algo=baseline", "data=glyphs", word)) not in (
        plain,
        run_id(config("algo=baseline", "data=glyphs", "train.augment={flip:0.6}")),
    )


DATA_SETS = ("caltech101", "glyphs", "image_folder", "l2l_taskset", "miniimagenet", "omniglot", "sinusoid")
# For each algo, a hash of its ids in these settings, from when backbone recipes were separate files.
SETTINGS = [
    *((f"data={data}", f"backbone={backbone}") for data in DATA_SETS for backbone in ("conv4", "mlp")),
    *(("data=miniimagenet", word) for word in ("backbone=resnet12", "task=5way5shot")),
    *(("data=omniglot", word) for word in ("task=20way1shot", "task=20way5shot")),
]
# Their recipes for photographs did without this then.
NOT_THEN = {
    **dict.fromkeys(("baseline", "baselinepp", "metaoptnet", "simpleshot"), ("train.augment=null",)),
    "finetune": ("train.augment=null", "algo.label_smoothing=0.0"),
}
# The recipe of matching networks for Omniglot took as many tasks per step with 20 ways as with 5.
NOT_THEN_WITH_TASK = {("matching", f"task=20way{shot}shot"): ("train.meta_batch=4",) for shot in (1, 5)}
HASHES_OF_IDS = {
    "anil": "2aff2cc1",
    "baseline": "b7a3cb62",
    "baselinepp": "1c478b4e",
    "cavia": "6b61ae6a",
    "finetune": "89499af5",
    "fomaml": "baa915f2",
    "imaml": "09365ae9",
    "l2l_anil": "1c96f1a1",
    "l2l_maml": "4ec587be",
    "l2l_metasgd": "b07788f6",
    "maml": "9f8bfd99",
    "mamlpp": "5e028b3f",
    "matching": "e4fec8a0",
    "metaoptnet": "cb0ef02e",
    "metasgd": "bf6a0166",
    "nearest_centroid": "327c7635",
    "protonet": "fa5a4ea9",
    "r2d2": "0e09ef52",
    "relation": "a0a647c3",
    "reptile": "69b869f2",
    "simpleshot": "0352b711",
}


@pytest.mark.slow
@pytest.mark.parametrize("algo", few_of(HASHES_OF_IDS, "maml", "protonet", "finetune"))
def test_the_ids_of_every_algo_are_unchanged(here, algo):
    then = [(*words, *NOT_THEN.get(algo, ()), *NOT_THEN_WITH_TASK.get((algo, words[-1]), ())) for words in SETTINGS]
    ids = " ".join(run_id(config(f"algo={algo}", *words)) for words in then)
    assert hashlib.sha256(ids.encode()).hexdigest()[:8] == HASHES_OF_IDS[algo]


def test_a_config_of_an_earlier_version_is_read_with_current_keys():
    now = config("algo=protonet")
    earlier = {key: value for key, value in now.items() if key != "paper_backbone"}
    assert resolve(OmegaConf.create({**earlier, "default_norm": "running"})) == now


def test_keys_added_later_do_not_change_ids():
    now = config()
    earlier = {key: value for key, value in now.items() if key not in ("tf32", "deterministic")}
    earlier["data"] = {key: value for key, value in now["data"].items() if key not in ("storage", "invert")}
    assert run_id(now) == run_id(earlier)
    assert resolve(OmegaConf.create(earlier)) == {**now, "data": earlier["data"]}


@pytest.mark.parametrize("word", ["data.storage=disk", "device=cpu", "train.over_tasks=loop", "logger=[csv,wandb]"])
def test_keys_that_cannot_change_a_number_are_not_in_the_id(word):
    assert run_id(config(word)) == run_id(config())


def test_keys_that_can_change_a_number_are_in_the_id():
    words = [(), *((word,) for word in ("precision=bf16", "precision=float64", "tf32=true", "deterministic=true"))]
    words.append(("data.invert=true",))
    assert len({run_id(config(*each)) for each in words}) == len(words)


def leaves(value) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (str(key), *leaves(item))]
    if isinstance(value, list):
        return [text for item in value for text in leaves(item)]
    return [str(value)]


PICTURES = ["data=image_folder", "data.root=pics"]


@pytest.mark.parametrize("words", few_of([[], ["data=omniglot"], ["data=sinusoid"], PICTURES], [], PICTURES))
def test_files_named_like_config_values_do_not_change_the_id(here, words):
    write_folder(here / "pics", split_folders())
    before = config(*words)
    identity = run_id(before)
    for name in {text for text in leaves(before) if "/" not in text} - {"pics"}:
        (here / name).write_text(name)
    assert run_id(config(*words)) == identity


def test_two_norms_are_two_runs_even_if_files_have_their_names(here):
    for name in ("batch", "layer"):
        (here / name).touch()
    assert run_id(config("backbone.norm=batch")) != run_id(config("backbone.norm=layer"))


def test_one_byte_of_one_picture_is_another_run(here):
    write_folder(here / "pics", split_folders())
    before = config("data=image_folder", "data.root=pics")
    identity, data = run_id(before), data_identity(before)
    file = here / "pics/test/fox/0.png"
    state = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert run_id(before) != identity
    assert data_identity(before) != data


def test_the_location_and_spelling_of_a_folder_are_not_in_the_id(here, monkeypatch):
    write_folder(here / "pics", split_folders())
    shutil.copytree(here / "pics", here / "home" / "copy")
    (here / "link").symlink_to("pics")
    monkeypatch.setenv("HOME", str(here / "home"))
    roots = ["pics", "./pics/../pics", str(here / "pics"), "link", "~/copy"]
    assert len({run_id({**config("data=image_folder"), "data": {**DATA, "root": root}}) for root in roots}) == 1


DATA = {"_target_": "metarun.data.ImageFolder", "split": None, "size": 84, "channels": 3}


def test_changed_content_below_the_home_folder_is_another_run(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    (here / "s.json").write_text(SPLIT)
    requested = config("data.split='~/s.json'")
    before = run_id(requested)
    (here / "s.json").write_text(SPLIT.replace("a", "A"))
    assert run_id(requested) != before


OWN = """
from pathlib import Path
from typing import Any
import metarun.data
from helper_of_users import LOWEST

class Data:
    name = "own"
    def __init__(self, root: Path, list_of: dict[str, list[Path]] | None = None, note: str = "", over_tasks: str = "",
                 storage: str = "") -> None: ...

class Pictures(metarun.data.ImageFolder):
    def __init__(self, *, note: str = "", **rest: Any) -> None:
        super().__init__(**rest)
"""


@pytest.fixture
def own(here, monkeypatch):
    users_module(monkeypatch, "helper_of_users", "LOWEST = 1\n")
    users_module(monkeypatch, "own_data_of_users", OWN)

    def identity(name="Data", **arguments):
        return run_id({**config(), "data": {"_target_": f"own_data_of_users.{name}", **arguments}})

    return identity


@pytest.mark.parametrize("name", ["Data", "Pictures"])
def test_a_users_class_declares_which_of_its_keys_are_paths(own, here, name):
    for file in ("a.csv", "b.csv", "c.csv"):
        (here / file).write_text(file)
    arguments = {"root": "a.csv", "note": "b.csv"}
    before = own(name, **arguments)
    (here / "b.csv").write_text("a note is not a path")
    assert own(name, **arguments) == before
    (here / "a.csv").write_text("a root is")
    assert own(name, **arguments) != before


LATE = """
from __future__ import annotations
import functools
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from pathlib import Path
    from nowhere import Unknown

class Late:
    def __init__(self, roots: list[Path], other: Unknown | None = None, by_name: dict[str, Path] | None = None): ...

class New:
    def __new__(cls, roots: list[Path]): ...

def make(roots: list[Path]): ...

part = functools.partial(make)
"""


@pytest.mark.parametrize("name", ["Late", "New", "make", "part"])
def test_a_path_is_recognised_however_it_is_declared(here, monkeypatch, name):
    users_module(monkeypatch, "late_of_users", LATE)
    (here / "a.csv").write_text("1")
    node = {"_target_": f"late_of_users.{name}", "roots": ["a.csv"]}
    before = run_id({**config(), "data": node})
    (here / "a.csv").write_text("2")
    assert run_id({**config(), "data": node}) != before
    assert with_absolute_paths({"data": node})["data"]["roots"] == [str(here / "a.csv")]


def test_paths_in_lists_and_mappings_are_paths_too(own, here):
    (here / "c.csv").write_text("1")
    before = own(root="c.csv", list_of={"train": ["c.csv"]})
    (here / "c.csv").write_text("2")
    after = own(root="nothing", list_of={"train": ["c.csv"]})
    (here / "c.csv").write_text("3")
    assert len({before, after, own(root="nothing", list_of={"train": ["c.csv"]})}) == 3


def test_a_changed_line_in_a_module_that_a_users_class_imports_is_another_run(own):
    before = own(root="x")
    assert own(root="x") == before
    Path("helper_of_users.py").write_text("LOWEST = 2\n")
    assert own(root="x") != before


@pytest.mark.parametrize("key", ["storage", "note"])
def test_a_key_of_a_users_class_may_have_the_name_of_an_excluded_key(own, key):
    assert own(root="x", **{key: "a"}) != own(root="x", **{key: "b"})


def test_code_that_hydra_imports_by_name_is_in_the_id(own):
    node = {"_target_": "metarun.backbones.Module", "module": {"_target_": "torch.nn.Flatten"}}
    node["module"]["norm"] = {"_target_": "hydra.utils.get_class", "path": "own_data_of_users.Data"}
    before = run_id({**config(), "backbone": node})
    Path("helper_of_users.py").write_text("LOWEST = 3\n")
    assert run_id({**config(), "backbone": node}) != before


def test_a_stored_config_holds_absolute_paths_and_has_the_same_id(here, monkeypatch):
    write_folder(here / "pics", split_folders())
    requested = config("data=image_folder", "data.root=pics")
    stored = with_absolute_paths(requested)
    assert stored["data"]["root"] == str(here / "pics")
    before = run_id(requested)
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert run_id(stored) == before
    assert with_absolute_paths(requested, here) == stored


def test_metaruns_methods_networks_and_loggers_take_no_path():
    """So that they need not be imported, which would load torch."""
    from metarun import algorithms, backbones, loggers
    from metarun.config.arguments import is_path, type_hints

    public = [getattr(package, name) for package in (algorithms, backbones, loggers) for name in package.__all__]
    others = (loggers.LoggedRun, backbones.CausalLM)  # not configured; known to come with files
    classes = [each for each in public if isinstance(each, type) and each not in others]
    assert len(classes) > 25
    assert not [(each, name) for each in classes for name, hint in type_hints(each).items() if is_path("x", hint)]


def test_the_id_of_metaruns_own_classes_is_computed_without_torch():
    code = (
        f"import sys; from metarun.config.run_id import run_id; run_id({config()}); assert 'torch' not in sys.modules"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


def test_without_paths_an_id_is_a_hash_of_the_config():
    plain = {"data": {"a": 1}, "algo": {}, "backbone": {}, "train": {}, "test": {}, "seed": 0}
    assert run_id(plain) == hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]
