"""Meta-training without labels: what a config makes of it, and that labels change no bit of the weights."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.run_id import run_id
from metarun.config.schema import register
from metarun.data import Sinusoid
from metarun.errors import UserError
from metarun.runner.components import Parts
from metarun.runner.made_tasks import check_method, training_stream
from metarun.tasks.augmentation import views
from metarun.tasks.source import task_source
from metarun.training.loop import Training
from tests.support.synthetic import make_dataset
from tests.tasks.test_augmentation import PICTURES, SPECTROGRAMS, TEXTS, VECTORS
from tests.tasks.test_made_classes import relabelled

SMALL = ["train.way=6", "train.shot=1", "train.query=2", "task.query=2", "backbone.filters=4", "train.iterations=2"]
SMALL += ["train.validate_every=1", "train.validate_tasks=2", "task.way=2", "task.clusters=20", "device=cpu"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))


@cache
def composed(algo: str) -> DictConfig:
    register()
    chosen = [f"chosen.{key}=x" for key in ("data", "backbone")]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", [*chosen, f"chosen.{algo}", algo, *SMALL])


def config(*words: str) -> dict:
    algo = next((word for word in words if word.startswith("algo=")), "algo=protonet")
    others = [word for word in words if not word.startswith("algo=")]
    return resolve(OmegaConf.merge(composed(algo), OmegaConf.from_dotlist(others)))


def parts_of(data, *words: str) -> Parts:
    parts = Parts(config(*words))
    parts.source = task_source(data)
    return parts


def trained(parts: Parts) -> Training:
    streams = [
        training_stream(parts, "train", parts.train_shape, 0),
        training_stream(parts, "val", parts.test_shape, 0),
    ]
    check_method(parts)
    training = Training(parts.algorithm, parts.schedule, *streams)
    training.run(lambda: None, [], lambda: None)
    return training


WAYS = {
    "UMTRA": ["algo=protonet", "task.labels=none"],
    "CACTUs": ["algo=protonet", "task.labels=clusters", "task.partitions=2"],
    "SimCLR": ["algo=simclr"],
    "rotation": ["algo=rotation"],
}


@pytest.mark.parametrize("way", WAYS)
def test_other_labels_of_meta_train_and_meta_val_change_no_bit(way):
    data = make_dataset()
    one, other = (trained(parts_of(each, *WAYS[way])) for each in (data, relabelled(data, [100, 40, 60, 40])))
    assert one.progress.curve[-1]["accuracy"] == other.progress.curve[-1]["accuracy"]
    for name, value in one.algorithm.state_dict().items():
        assert torch.equal(value, other.algorithm.state_dict()[name]), name


def test_meta_test_has_labels_and_the_same_tasks_as_ever():
    data = make_dataset()
    hashes = {parts_of(data, f"task.labels={labels}").test_stream.hash(5) for labels in ("classes", "none", "clusters")}
    assert len(hashes) == 1


def test_clusters_of_meta_val_are_as_large_as_those_of_meta_train(monkeypatch):
    asked = []
    monkeypatch.setattr("metarun.runner.made_tasks.cluster", lambda *given: asked.append(given[1:2] + given[-2:]))
    monkeypatch.setattr("metarun.runner.made_tasks.clusters", lambda *_: pytest.fail("stop"))
    data = make_dataset()
    small = {**data.splits, "val": make_dataset(sizes=(20,) * 6).splits["val"]}
    object.__setattr__(data, "splits", small)
    for split in ("train", "val"):
        with pytest.raises(pytest.fail.Exception):
            training_stream(parts_of(data, "task.labels=clusters"), split, parts_of(data).test_shape, 0)
    assert asked == [("train", 20, 1), ("val", 10, 1)]


def test_labels_are_in_the_id_of_a_run_only_if_they_are_made(tmp_path):
    base = run_id(config())
    assert run_id(config("task.labels=classes", "task.clusters=500")) == run_id(config("task.clusters=500"))
    ids = {run_id(config(f"task.labels={labels}")) for labels in ("none", "clusters")}
    assert len({base, *ids}) == 3
    one, moved = (
        run_id(config("task.labels=clusters", f"task.embedding={folder}/simclr-omniglot-5w1s-01234567"))
        for folder in (tmp_path, "elsewhere")
    )
    assert one == moved


@pytest.mark.parametrize(
    ("inputs", "preset"),
    [(PICTURES, "photo_resized"), (SPECTROGRAMS, "spec"), (VECTORS, "dropout")],
)
def test_changes_that_suit_the_data_are_chosen(inputs, preset):
    chosen, changes = views(None, inputs, "d")
    assert chosen == preset
    assert changes
    assert views({"dropout": 0.2}, inputs, "d")[0] is None


def test_texts_of_ids_have_no_changed_copies():
    with pytest.raises(
        UserError, match=r"no change for examples of data=d, which have ids \(ids\), mask \(mask\); use"
    ):
        views(None, TEXTS, "d")


REFUSED = {
    "a classifier of all classes": (
        ["algo=baseline", "task.labels=none"],
        "algo=baseline classifies the meta-train classes of the data but task.labels=none makes others",
    ),
    "simclr with labels": (
        ["algo=simclr", "task.labels=classes"],
        "algo=simclr learns from examples without classes but task.labels=classes; set `task.labels=none`",
    ),
    "clusters": (["task.labels=clusters", "task.clusters=1"], "task.clusters=1 but it must be at least 6; raise"),
    "partitions": (["task.labels=clusters", "task.partitions=0"], "task.partitions=0 but it must be at least 1"),
    "within": (["task.labels=none", "task.within=x"], "train.within=x needs classes but `task.labels`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_in_a_sentence(case):
    words, sentence = REFUSED[case]
    with pytest.raises(UserError, match=sentence):
        trained(parts_of(make_dataset(), *words))


def test_rotation_is_refused_if_turned_pictures_are_among_the_examples():
    parts = parts_of(make_dataset(), "algo=rotation")
    parts.config["data"]["rotations"] = {"train": 4}
    with pytest.raises(UserError, match=r"with data.rotations.train=4 the examples include rotated .*; set `data.rot"):
        check_method(parts)


def test_functions_have_no_classes_to_make():
    parts = parts_of(Sinusoid().load(), "task.labels=none")
    with pytest.raises(UserError, match="makes classes of one data set but data=sinusoid is regression"):
        training_stream(parts, "train", parts.train_shape, 0)


@pytest.mark.slow
def test_a_run_is_clustered_by_the_features_of_another_and_tested_with_other_heads(metarun):
    small = ["data=glyphs", "debug=smoke", "force=false"]
    assert metarun("train", "algo=simclr", *small).code == 0
    (simclr,) = Path("results/debug/runs").glob("simclr-*")
    words = ["algo=protonet", *small, "task.labels=clusters", "task.clusters=40", "task.embedding=last"]
    assert metarun("train", *words).code == 0
    (path,) = Path("results/debug/runs").glob("protonet-*/result.json")
    assert json.loads(path.read_text())["train_labels"] == "clusters"
    assert "Already finished" in metarun("train", *words[:-1], f"task.embedding={simclr}").out
    for head in ("baseline", "simpleshot", "finetune"):
        run = metarun("test", f"run={simclr}", f"algo={head}", "test.tasks=3", "results_dir=results/debug")
        assert run.code == 0, run.err
    code, _, complaint = metarun("train", *words[:-1], "task.embedding=nothing")
    assert code == 2
    assert "task.embedding=nothing is neither a run's directory nor the start of an id" in complaint
