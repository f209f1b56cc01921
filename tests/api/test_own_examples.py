"""Runs on texts and tables are adapted to a user's own, also when their training data are gone."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import metarun
from metarun.data.own.examples import support_of
from metarun.errors import UserError
from tests.support.fake_texts import write_texts

SMALL = {"train.iterations": 0, "train.validate_tasks": 2, "test.tasks": 2, "task.query": 2, "train.way": 5}
NEW = "text,label\n" + "".join(f'"{word} {i}",{word}\n' for word in ("music", "lights", "news") for i in range(3))


@pytest.fixture
def texts(root, tmp_path) -> metarun.Run:
    """A run on texts, with `new.csv` beside its results."""
    write_texts(tmp_path / "texts.csv", per_class=4)
    (tmp_path / "new.csv").write_text(NEW)
    where = {"data.root": str(tmp_path / "texts.csv"), "results_dir": str(tmp_path / "results")}
    small = {"data.features": "tokens", "data.vocabulary": 4096, "data.length": 4, "backbone.width": 8}
    return metarun.train(algo="protonet", data="text", backbone="bag", **where, **small, **SMALL)


def test_a_run_on_texts_is_adapted_and_its_learner_predicts_without_the_training_data(texts, tmp_path, root):
    (tmp_path / "texts.csv").unlink()
    shutil.rmtree(root)
    found = metarun.Run(texts.path).read(tmp_path / "new.csv")
    learner = metarun.Run(texts.path).adapt(*support_of(found, tmp_path / "new.csv"))
    assert learner.classes == ("lights", "music", "news")
    assert learner.leave_one_out().examples == 9
    assert [fit.accuracy for fit in learner.fit()] == [1.0]
    learner.save(tmp_path / "intents.npz")
    moved = shutil.move(texts.path, tmp_path / f"moved-{texts.id}")
    loaded = metarun.Learner.load(tmp_path / "intents.npz", moved)
    assert np.array_equal(loaded.predict(found.values), learner.predict(found.values))
    assert loaded.leave_one_out() == learner.leave_one_out()


def test_a_run_of_an_earlier_version_takes_what_its_data_tell(texts, tmp_path):
    before = texts.read(tmp_path / "new.csv").values
    (texts.path / "inputs.npz").unlink()
    assert np.array_equal(metarun.Run(texts.path).read(tmp_path / "new.csv").values, before)
    write_texts(tmp_path / "texts.csv", per_class=5)
    with pytest.raises(UserError, match=r"the data of run \w+ have changed since it was trained"):
        metarun.Run(texts.path).read(tmp_path / "new.csv")


def test_damaged_inputs_are_reported_in_one_sentence(texts, tmp_path):
    (texts.path / "inputs.npz").write_bytes(b"no")
    with pytest.raises(UserError, match=r"inputs\.npz has changed since the run finished"):
        metarun.Run(texts.path).read(tmp_path / "new.csv")
    (texts.path / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match=r"inputs\.npz is damaged .*; delete it, and the data of the run are read"):
        metarun.Run(texts.path).read(tmp_path / "new.csv")


def test_fields_are_also_taken_as_a_dict(texts, tmp_path):
    found = texts.read(tmp_path / "new.csv")
    learner = texts.adapt(found.values, found.labels)
    fields = {name: found.values[name] for name in found.values.dtype.names}
    assert np.array_equal(texts.adapt(fields, found.labels).predict(fields), learner.predict(found.values))
    with pytest.raises(UserError, match=r"have the fields ids but run \w+ takes ids, mask"):
        learner.predict({"ids": fields["ids"]})
    with pytest.raises(UserError, match=r"the fields of the examples have the lengths \[2, 9\]"):
        learner.predict({**fields, "ids": fields["ids"][:2]})


def test_a_regression_predicts_numbers_in_the_units_of_the_table(root, tmp_path, metarun_command):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(120, 2)), columns=["load", "heat"])
    table = table.assign(noise=100 + 5 * table.load, machine=np.repeat(range(10), 12))
    table.to_csv(tmp_path / "machines.csv", index=False)
    where = {"data.root": str(tmp_path / "machines.csv"), "results_dir": str(tmp_path / "results")}
    data = {"data.entity": "machine", "data.targets": ["noise"], "task.shot": 4, "backbone.hidden": [8]}
    small = {key: value for key, value in SMALL.items() if key != "train.way"}
    run = metarun.train(algo="maml", data="regression_table", **where, **data, **small)
    own = pd.DataFrame({"load": [0.0, 1, 2, 3], "heat": 0.0, "noise": [100.0, 105, 110, 115]})
    own.to_csv(tmp_path / "own.csv", index=False)
    own.drop(columns="noise").assign(heat=[0.0, "hot", 1, 2]).to_csv(tmp_path / "new.csv", index=False)
    adapted = ("adapt", f"run={run.path}", "support=own.csv", "--steps", "2")
    code, out, err = metarun_command(*adapted)
    assert code == 0, err
    assert "adapted to 4 rows in " in out
    assert "after 0, 1, 2 steps" in out
    code, out, err = metarun_command("predict", "learner.npz", "own.csv", "new.csv", "-o", "found.csv")
    assert code == 0, err
    found = pd.read_csv("found.csv")
    assert found.columns.tolist() == ["file", "noise", "error"]
    assert found.file.tolist()[4:] == ["new.csv:2", "new.csv:3", "new.csv:4", "new.csv:5"]
    assert found.error[5] == "line 3 of new.csv has 'hot' in column 'heat' but the column takes numbers"
    predicted = metarun.Learner.load("learner.npz")
    x = run.read("own.csv")
    expected = predicted.encoder.targets.numbers(predicted.predict(x.values))[:, 0]
    np.testing.assert_allclose(found.noise[:4], expected, rtol=1e-5)
    root_error = np.sqrt(np.mean((expected - own.noise) ** 2))
    assert f"root mean squared error over 4 rows with targets: noise {root_error:.4g}" in out
    code, _, err = metarun_command("predict", "learner.npz", "own.csv", "-o", "found.csv", "--picture", "x.png")
    assert (code, "--picture draws classes but this run predicts numbers" in err) == (2, True)


@pytest.fixture
def metarun_command(metarun):
    """The command, under a name that does not hide the package."""
    return metarun


def test_a_picture_shows_texts_with_their_answers(texts, tmp_path, metarun_command):
    words = (f"run={texts.path}", "support=new.csv", "query=new.csv", "-o", "found.csv", "--picture", "answers.svg")
    code, out, err = metarun_command("predict", *words)
    assert code == 0, err
    drawn = Path("answers.svg").read_text()
    assert ">surest</text>" in drawn
    assert drawn.count(">music 1</text>") >= 2, "in the support set and among the answers"
    assert "✓ lights" in drawn
    assert [line.split()[-2:] for line in out.splitlines() if line.startswith("news")] == [["100.0", "%"]]
