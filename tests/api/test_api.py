"""metarun from Python: the commands' work on your own arrays."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import metarun
from metarun.errors import UserError
from metarun.evaluation.floor import floor
from tests.support.commands import run_here
from tests.support.markers import few_of

SMALL = {
    "data": "glyphs",
    "backbone.filters": 4,
    "train.iterations": 2,
    "train.validate_every": 2,
    "train.validate_tasks": 2,
    "train.meta_batch": 1,
    "test.tasks": 4,
}


@pytest.fixture(scope="module")
def protonet(tmp_path_factory: pytest.TempPathFactory) -> metarun.Run:
    return metarun.train(algo="protonet", results_dir=str(tmp_path_factory.mktemp("api") / "results"), **SMALL)


@pytest.fixture(scope="module")
def maml(tmp_path_factory: pytest.TempPathFactory) -> metarun.Run:
    return metarun.train(algo="maml", results_dir=str(tmp_path_factory.mktemp("api") / "results"), **SMALL)


def test_importing_metarun_loads_neither_torch_nor_hydra():
    code = "import metarun, sys; print({'torch', 'hydra', 'pandas'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
    assert set(metarun.__all__) <= set(dir(metarun))


def test_results_and_tasks_are_called_by_their_short_names(protonet):
    assert metarun.results(protonet.path.parents[1])["id"].tolist() == [protonet.id]
    batch = metarun.tasks("glyphs", way=2, shot=1, query=3, split="test").batch(0, 4)
    assert batch.query_x.shape == (4, 6, 1, 28, 28)


@pytest.mark.parametrize("name", ["results", "tasks"])
def test_a_short_name_can_be_the_first_that_is_used(name):
    code = f"import metarun; metarun.load_{name} = print; metarun.{name}('glyphs')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "glyphs\n"


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'metarun' has no attribute 'trian'"):
        metarun.trian  # noqa: B018


def test_train_gives_the_run_of_the_command(protonet, capsys):
    words = [f"{key}={value}" for key, value in SMALL.items()]
    assert run_here("train", "algo=protonet", f"results_dir={protonet.path.parents[1]}", *words) == 0
    assert "Already finished" in capsys.readouterr().out
    assert metarun.train(algo="protonet", results_dir=str(protonet.path.parents[1]), **SMALL).id == protonet.id


def test_the_attributes_of_a_run(protonet):
    results_dir = protonet.path.parents[1]
    assert protonet.result["accuracy"] == pytest.approx(protonet.tasks["accuracy"].mean())
    assert protonet.config["backbone"]["filters"] == 4
    assert set(protonet.curve["split"]) == {"train", "val"}
    assert not protonet.algorithm.training
    for name in (protonet.id[:4], protonet.path, "last"):
        assert metarun.load(name, results_dir).id == protonet.id
    assert metarun.load_results(results_dir)["id"].tolist() == [protonet.id]


def test_a_learner_predicts_like_the_method_on_its_tasks(protonet, maml):
    task = metarun.load_tasks("glyphs", way=5, shot=2, query=3).batch(7, 1)
    for run in (protonet, maml):
        learner = run.adapt(task.support_x[0], task.support_y[0].tolist())
        expected = run.algorithm.predict(task, run.config["test"]["steps"])[-1, 0].double().softmax(-1)
        np.testing.assert_allclose(learner.predict(task.query_x[0]), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_labels_can_have_any_type_and_order_and_shots_can_differ(protonet):
    task = metarun.load_tasks("glyphs", way=3, shot=3, query=2).batch(0, 1)
    names = np.array(["lynx", "bear", "adder"])[task.support_y[0].numpy()]
    order = np.random.default_rng(0).permutation(9)[:7]
    learner = protonet.adapt(task.support_x[0][order], names[order].tolist())
    assert learner.classes == ("adder", "bear", "lynx")
    again = protonet.adapt(task.support_x[0][order[::-1].copy()], names[order[::-1]].tolist())
    np.testing.assert_allclose(learner.predict(task.query_x[0]), again.predict(task.query_x[0]), rtol=1e-4, atol=1e-6)
    assert set(learner.classify(task.query_x[0])) <= set(learner.classes)


def test_bytes_are_scaled_as_in_training(protonet):
    task = metarun.load_tasks("glyphs", way=2, shot=1, query=2).batch(0, 1)
    pictures = (task.support_x[0] * 255).round().to(torch.uint8).numpy()
    floats = protonet.adapt(task.support_x[0], [0, 1]).predict(task.query_x[0])
    np.testing.assert_allclose(protonet.adapt(pictures, [0, 1]).predict(task.query_x[0]), floats, rtol=1e-5)


def test_a_learner_is_saved_and_loaded(protonet, tmp_path):
    task = metarun.load_tasks("glyphs", way=3, shot=1, query=2).batch(0, 1)
    learner = protonet.adapt(task.support_x[0], ["a", "b", 3])
    learner.save(tmp_path / "three.npz")
    loaded = metarun.Learner.load(tmp_path / "three.npz")
    assert loaded.classes == (3, "a", "b")
    assert np.array_equal(loaded.predict(task.query_x[0]), learner.predict(task.query_x[0]))
    with np.load(tmp_path / "three.npz") as arrays:
        np.savez(tmp_path / "later.npz", **{**arrays, "about": np.array('{"format": 9}')})
    with pytest.raises(UserError, match=r"later\.npz is a learner of another version of metarun \(format 9, this one"):
        metarun.Learner.load(tmp_path / "later.npz")
    (tmp_path / "three.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match=r"three\.npz is not a valid learner"):
        metarun.Learner.load(tmp_path / "three.npz")


@pytest.mark.parametrize("name", [".", "link"])
def test_a_run_has_its_id_in_its_own_folder_and_by_a_link(protonet, tmp_path, monkeypatch, name):
    (tmp_path / "link").symlink_to(protonet.path)
    monkeypatch.chdir(protonet.path if name == "." else tmp_path)
    task = metarun.load_tasks("glyphs", way=3, shot=1, query=2).batch(0, 1)
    run = metarun.load(name)
    assert run.id == protonet.result["id"]
    learner = run.adapt(task.support_x[0], ["a", "b", "c"])
    learner.save(tmp_path / "three.npz")
    loaded = metarun.Learner.load(tmp_path / "three.npz")
    assert np.array_equal(loaded.predict(task.query_x[0]), learner.predict(task.query_x[0]))


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (np.zeros((2, 1, 28, 28), np.float32), [0], "there are 2 support examples but 1 labels"),
        (
            np.zeros((2, 1, 20, 28), np.float32),
            [0, 1],
            r"have shape \(2, 1, 20, 28\) but run \w+ takes \(n, 1, 28, 28\)",
        ),
        (np.zeros((2, 1, 28, 28), np.float32), [1, 1], "the support set has one class"),
        (np.zeros((2, 1, 28, 28), np.float32), ["a", None], "support example 1 has no class"),
        (np.full((2, 1, 28, 28), np.nan), [0, 1], "a number that is not finite"),
    ],
)
def test_invalid_support_sets_are_refused(protonet, x, y, sentence):
    with pytest.raises(UserError, match=sentence):
        protonet.adapt(x, y)


def test_a_fixed_head_only_takes_its_own_way(maml):
    with pytest.raises(UserError, match=r"the support set has 2 classes but run \w+ \(maml\) has a head for 5"):
        maml.adapt(np.zeros((2, 1, 28, 28), np.float32), [0, 1])


def test_unknown_keys_and_missing_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match="outer_rate"):
        metarun.train(algo="protonet", results_dir=str(tmp_path), **SMALL, **{"train.outer_rate": 1})
    with pytest.raises(UserError, match="is not a finished training"):
        metarun.Run(tmp_path)
    with pytest.raises(UserError, match="there is no finished run"):
        metarun.load("last", tmp_path)


def test_a_function_is_evaluated_on_the_same_tasks_as_a_run(protonet):
    def nearest(support_x, support_y, query_x):
        centroids = torch.stack([support_x[support_y == c].mean(0) for c in range(5)])
        return -(torch.cdist(query_x.flatten(1), centroids.flatten(1)) ** 2)

    found = metarun.evaluate(nearest, "glyphs", tasks=4)
    assert found.accuracy == pytest.approx(found.floor)
    assert found.floor == pytest.approx(protonet.result["floor_accuracy"])
    assert not found.transductive
    tasks = metarun.load_tasks("glyphs").batch(0, 4)
    right = (floor(tasks)[0].argmax(-1) == tasks.query_y).double().mean(1)
    np.testing.assert_allclose(found.by_task, right.numpy())


def test_tasks_that_cannot_be_evaluated_or_drawn_are_refused():
    with pytest.raises(UserError, match="data=sinusoid has regression tasks but `evaluate` measures accuracy"):
        metarun.evaluate(lambda *_: None, "sinusoid", way=1)
    for call in (lambda device: metarun.evaluate(None, "glyphs", device=device), partial(metarun.load_tasks, "glyphs")):
        with pytest.raises(UserError, match="device=gpu is not a torch device; use device=cuda"):
            call(device="gpu")


def test_the_device_can_be_chosen_by_metarun():
    tasks = metarun.load_tasks("glyphs", way=2, shot=1, query=1, device="auto")
    assert tasks.batch(0, 1).support_x.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_run_is_tested_from_the_folder_that_it_is_in(protonet, monkeypatch):
    monkeypatch.chdir(protonet.path.parent)
    tested = metarun.load(protonet.path.name).test(**{"task.shot": 3})
    assert Path(tested["path"]).parent == protonet.path.parent


def test_only_runs_on_the_same_tasks_are_compared(protonet, maml):
    found = metarun.compare(protonet, maml)
    assert found.difference == pytest.approx(maml.result["accuracy"] - protonet.result["accuracy"])
    results_dir = protonet.path.parents[1]
    tested = protonet.test(**{"task.shot": 2})
    assert (tested["test_shot"], tested["test_way"], tested["trained_by"]) == (2, 5, protonet.id)
    with pytest.raises(UserError, match=rf"not tested on the same tasks; test one .*run={tested['id']} .*task.shot=1"):
        metarun.compare(protonet, tested["id"], results_dir)
    assert metarun.compare(tested["id"], tested["path"], results_dir).difference == 0


INVALID = [
    {"algo": "mamll"},
    {"experiment": "none"},
    {"recipe": "none", "algo": "protonet"},
    {"trian.iterations": 2},
    {"task.shot": 500},
]


@pytest.mark.parametrize("settings", few_of(INVALID, *INVALID[::2]))
def test_errors_have_the_sentences_of_the_commands(settings, capsys):
    assert run_here("train", *(f"{key}={value}" for key, value in settings.items())) == 2
    with pytest.raises(UserError) as raised:
        metarun.train(**settings)
    assert capsys.readouterr().err.endswith(f"metarun: error: {raised.value}\n")


def test_an_error_of_a_test_names_the_command(protonet):
    with pytest.raises(UserError, match=r"way=5000 .*`task.way` \(5000, set by the command\)"):
        protonet.test(**{"task.way": 5000})


def test_iterating_tasks_yields_them_in_order():
    tasks = metarun.load_tasks("glyphs", way=2, shot=1, query=1)
    first = [batch for _, batch in zip(range(3), tasks, strict=False)]
    assert torch.equal(first[2].support_x, tasks.batch(2, 1).support_x)


def test_the_users_yaml_files_are_found(tmp_path):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    Path(folder / "mine.yaml").write_text("# @package _global_\ntrain: {iterations: 3}\n")
    run = metarun.train(
        config_dir=tmp_path / "conf",
        algo="protonet",
        experiment="mine",
        results_dir=str(tmp_path / "results"),
        **{key: value for key, value in SMALL.items() if key != "train.iterations"},
    )
    assert run.config["train"]["iterations"] == 3
