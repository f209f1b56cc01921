"""`metarun export`: the folder that it writes, what it refuses, and that it leaves nothing behind."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import metarun as library
from metarun.export import FORMATS, check, export, exporting
from metarun.export.methods import EXPORTED

SMALL = {
    "data": "glyphs",
    "backbone.filters": 2,
    "train.iterations": 0,
    "train.validate_tasks": 2,
    "test.tasks": 4,
    "task.query": 2,
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> library.Run:
    """A run whose graph has few operators."""
    folder = str(tmp_path_factory.mktemp("export"))
    return library.train(algo="nearest_centroid", results_dir=folder, **SMALL)


@pytest.fixture(scope="module")
def maml(tmp_path_factory: pytest.TempPathFactory) -> library.Run:
    return library.train(algo="maml", results_dir=str(tmp_path_factory.mktemp("export")), **SMALL)


def test_a_run_is_written_with_a_card_an_example_and_its_metadata(metarun, quick):
    run = quick
    code, out, _ = metarun("export", f"run={run.path}", "format=torch", "--tasks", "5", "-o", "made")
    assert code == 0
    assert "equal to torch on 6 meta-test tasks (largest difference " in out
    assert "→ made" in out
    assert {path.name for path in Path("made").iterdir()} == {"README.md", "metadata.json", "example.npz", "model.pt2"}
    assert [path.name for path in Path().iterdir()] == ["made"]
    about = json.loads(Path("made/metadata.json").read_text())
    assert about["inputs"]["query_x"] == {
        "shape": ["query", 1, 28, 28],
        "dtype": "float32",
        "scaling": "bytes from 0 to 255, divided by 255; ink is light, paper is dark",
    }
    assert (about["way"], about["steps"], about["run"]) == (5, 0, run.id)
    card = Path("made/README.md").read_text()
    assert f"{100 * run.result['accuracy']:.2f} ± " in card
    assert "Bitstream Vera" in card
    assert 'torch.export.load("model.pt2")' in card
    assert "Classes that were not in training, of examples like those of the data above, 5 at a time." in card
    assert "another way or number of steps" not in card


def test_the_card_of_a_regression_speaks_of_numbers_and_of_other_steps(tmp_path):
    small = {**SMALL, "data": "sinusoid", "backbone": "mlp", "test.steps": 1}
    del small["backbone.filters"]
    run = library.train(algo="maml", results_dir=str(tmp_path / "results"), **small)
    for steps in (0, 1):
        made = export(run, "torch", tmp_path / f"{steps}", steps=steps, tasks=1)
        card = (made.folder / "README.md").read_text()
        assert "Functions or entities that were not in training" in card
        assert "class" not in card.lower()
        assert ("This export has another way or number of steps" in card) == (steps == 0)


@pytest.mark.slow
def test_the_inner_steps_are_in_the_model(maml, tmp_path):
    run = maml
    made = export(run, "torch", tmp_path / "made", steps=2, tasks=2)
    model = torch.export.load(made.folder / "model.pt2").module()
    with np.load(made.folder / "example.npz") as example:
        support_x, support_y, query_x = (
            torch.from_numpy(example[name]) for name in ("support_x", "support_y", "query_x")
        )
        expected = example["logits"]
    np.testing.assert_allclose(model(support_x, support_y, query_x).numpy(), expected, atol=1e-6)
    learner = run.adapt(support_x, support_y.tolist(), steps=2)
    np.testing.assert_allclose(torch.from_numpy(expected).softmax(1), learner.predict(query_x), atol=1e-5)
    more = torch.cat([support_x, support_x[:3]]), torch.cat([support_y, support_y[:3]])
    learner = run.adapt(more[0], more[1].tolist(), steps=2)
    found = model(*more, query_x[:1]).softmax(1).numpy()
    np.testing.assert_allclose(found, learner.predict(query_x[:1]), atol=1e-5)


def test_a_model_that_differs_is_refused_and_nothing_is_left(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "TOLERANCE", -1)
    run = quick
    with pytest.raises(library.UserError, match=rf"the torch model differs from torch by .* on task 1 of run {run.id}"):
        export(run, "torch", tmp_path / "made", tasks=1)
    assert not list(tmp_path.iterdir())


def test_a_method_without_export_names_those_that_have_it(quick, tmp_path, monkeypatch):
    monkeypatch.delitem(EXPORTED, "nearest_centroid")
    sentence = r"algo=nearest_centroid cannot be exported; these can: protonet, .* and fomaml"
    with pytest.raises(library.UserError, match=sentence):
        export(quick, "torch", tmp_path / "made")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["format=torch"], "run= is required"),
        (["RUN"], "format= is required"),
        (
            ["RUN", "format=onxx"],
            "format=onxx is unknown. Did you mean 'onnx'? Possible: onnx, torch, tensorflow, litert",
        ),
        (["RUN", "shape=3"], "'shape=3' is not run=RUN or format=FORMAT"),
        (["RUN", "format=torch", "--way", "1"], "--way=1 but a task needs at least 2 classes"),
        (["RUN", "format=torch", "--steps", "2"], "--steps=2 but nearest_centroid takes no steps; omit it."),
        (["RUN", "format=torch", "--steps", "-1"], "--steps=-1 but nearest_centroid takes no steps"),
        (["RUN", "format=torch", "--tasks", "0"], "--tasks=0 but at least 1 is needed"),
        (["RUN", "format=torch", "-o", "full"], "full exists already; remove it, or name another folder with -o"),
    ],
)
def test_an_invalid_command_is_reported_in_one_sentence(metarun, quick, words, sentence):
    Path("full").mkdir()
    Path("full/precious.txt").touch()
    code, _, err = metarun("export", *(f"run={quick.path}" if word == "RUN" else word for word in words))
    assert (code, sentence in err, err.count("\n")) == (2, True, 1), err


@pytest.mark.slow
def test_a_fixed_head_and_negative_steps_are_refused(maml):
    with pytest.raises(library.UserError, match=rf"--way=3 but maml {maml.id} has a head for 5 outputs; omit it"):
        export(maml, "torch", way=3)
    with pytest.raises(library.UserError, match=r"--steps=-1 but it cannot be negative"):
        export(maml, "torch", steps=-1)


@pytest.mark.parametrize(("name", "extra"), [("onnx", "onnx"), ("tensorflow", "tensorflow"), ("litert", "tensorflow")])
def test_without_the_extra_the_command_that_installs_it_is_named(quick, monkeypatch, name, extra):
    for package in ("onnx", "tensorflow"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(library.UserError, match=rf"pip install 'metarun\[{extra}\]'"):
        export(quick, name)


def test_every_method_is_exported_or_known_not_to_be():
    options = {path.stem for path in Path(__file__).parents[2].joinpath("conf/algo").glob("*.yaml")}
    without = {"baseline", "finetune", "metaoptnet", "reptile", "l2l_maml", "l2l_anil", "l2l_metasgd", "maml_rl"}
    without |= {"cnp", "attentive_np", "transformer_np", "in_context", "prompt", "multitask", "rotation", "simclr"}
    without |= {"caml", "pmf"}
    without |= {"finetune_rl", "promp", "random", "rl2"}
    assert options - without == {*EXPORTED, "fomaml"}
    assert exporting.TASKS == 100
    assert set(FORMATS) == {"onnx", "torch", "tensorflow", "litert"}
