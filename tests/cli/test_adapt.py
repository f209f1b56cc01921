"""`metarun adapt` and `metarun predict`: from a run and a few pictures to the classes of new ones."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metarun as library
from metarun.data import Glyphs

SMALL = {"data": "glyphs", "train.iterations": 0, "train.validate_tasks": 2, "test.tasks": 4}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with an untrained network, whose random features tell glyphs apart well enough."""
    folder = tmp_path_factory.mktemp("adapt") / "results"
    library.train(algo="protonet", results_dir=str(folder), **{"backbone.norm": "layer"}, **SMALL)
    return folder


@pytest.fixture
def pictures(metarun, results) -> Path:
    """In the current folder: dark ink on white, six pictures of each of three letters, and a broken file."""
    examples = Glyphs().load().splits["test"]
    for c, name in enumerate(("alpha", "beta", "gamma")):
        for i, glyph in enumerate(examples.of_class(examples.class_names[3 * c])[:6]):
            path = Path("support" if i < 3 else "query") / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 - glyph[0]).resize((56, 56), Image.Resampling.NEAREST).save(path)
    Path("query/alpha/broken.png").write_bytes(b"no picture")
    return results


def rows(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def test_a_run_is_adapted_and_predicts_new_pictures(metarun, pictures):
    run = library.load("last", pictures)
    code, out, _ = metarun("adapt", f"run={run.id[:4]}", "support=support", "--results-dir", str(pictures))
    assert code == 0
    assert f"protonet {run.id} adapted to 3 classes of 3 pictures" in out
    assert "leave-one-out on the support set: " in out
    code, out, _ = metarun("predict", "learner.npz", "query", "-o", "found.csv")
    assert code == 0
    assert "9 pictures predicted, " in out
    assert "1 picture could not be decoded" in out
    found = rows("found.csv")
    assert [row["file"] for row in found][:4] == ["alpha/3.png", "alpha/4.png", "alpha/5.png", "alpha/broken.png"]
    assert found[3]["error"].startswith("alpha/broken.png cannot be decoded")
    decoded = [row for row in found if not row["error"]]
    right = sum(row["class"] == row["file"].split("/")[0] for row in decoded)
    assert f"accuracy {100 * right / 9:.1f} % of 9 labelled" in out
    assert right >= 6
    for row in decoded:
        each = {name: float(row[f"p({name})"]) for name in ("alpha", "beta", "gamma")}
        assert sum(each.values()) == pytest.approx(1, abs=2e-4)
        assert max(each, key=each.get) == row["class"]


def test_a_learner_finds_its_run_in_another_folder(metarun, pictures, tmp_path):
    shutil.copytree(pictures, "results")
    run = library.load("last")
    assert metarun("adapt", "run=last", "support=support").code == 0
    Path("results").rename("moved")
    words = ["predict", "learner.npz", "query/beta"]
    code, _, err = metarun(*words)
    assert (code, f"{tmp_path / run.path} is not a finished" in err) == (2, True), err
    code, out, err = metarun(*words, "--results-dir", "moved")
    assert (code, out.count(".png,")) == (0, 3), err
    code, _, err = metarun(*words, "--results-dir", "nowhere")
    assert (code, f"run={run.id} is neither a run's directory nor" in err) == (2, True), err


def test_pictures_are_decoded_as_in_training(metarun, pictures):
    run = library.load("last", pictures)
    found = run.read("support")
    glyphs = Glyphs().load().splits["test"]
    original = glyphs.of_class(glyphs.class_names[0])[0].astype(int)
    assert found.values.shape == (9, 1, 28, 28)
    assert np.abs(found.values[0].astype(int) - original).mean() < 20, "light on dark again"
    assert np.array_equal(run.read("support", invert=True).values, 255 - found.values)


def test_in_one_go_the_table_alone_is_printed(metarun, pictures):
    words = ["run=best", "--results-dir", str(pictures), "support=support", "query=query/beta"]
    code, out, err = metarun("predict", *words, "--picture", "answers.svg")
    assert code == 0
    head, *lines = out.splitlines()
    assert head == "file,class,probability,unknown,error,p(alpha),p(beta),p(gamma)"
    assert [line.partition(",")[0] for line in lines] == ["3.png", "4.png", "5.png"]
    for said in ("run=best is protonet-", "adapted to 3 classes", "leave-one-out", "3 pictures predicted", "→ answers"):
        assert said in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["adapt", "support=support"], "run= is required"),
        (["adapt", "RUN", "support=nowhere"], "nowhere does not exist"),
        (["adapt", "RUN", "support=query"], "alpha/broken.png cannot be decoded (not a picture); fix or remove it."),
        (["adapt", "RUN", "support=support/alpha"], "0.png in support/alpha is not in a class folder"),
        (
            ["adapt", "RUN", "support=support", "-o", "no/x.npz"],
            "(No such file or directory); choose another file with -o",
        ),
        (["adapt", "RUN", "shots=3"], "'shots=3' is not run=RUN or support=FOLDER; see `metarun adapt --help`."),
        (["adapt", "RUN", "support=support", "query=query"], "'query=query' is not run=RUN or support=FOLDER"),
        (["adapt", "RUN", "support=support", "--steps", "-7"], "steps=-7 but it cannot be negative"),
        (["adapt", "RUN", "support=support", "--steps", "3"], "--steps 3 but protonet takes no steps; omit it."),
        (["predict", "RUN", "shots=3"], "'shots=3' is not run=RUN, support=FOLDER or query=FOLDER"),
        (["predict", "gone.npz", "query", "--steps", "3"], "--steps 3 but gone.npz is adapted already; pass --steps"),
        (["predict", "learner.npz"], "a learner and examples are required"),
        (["predict", "support/alpha/0.png", "query"], "support/alpha/0.png is not a valid learner"),
        (["predict", "gone.npz", "query", "--picture", "x.gif"], "--picture x.gif: unknown format; the suffix must be"),
        (["predict", "gone.npz", "query"], "gone.npz does not exist; name a file that `metarun adapt`"),
    ],
)
def test_an_invalid_command_is_reported_in_one_sentence(metarun, pictures, words, sentence):
    run = library.load("last", pictures)
    code, _, err = metarun(*(f"run={run.path}" if word == "RUN" else word for word in words))
    assert (code, sentence in err, err.count("\n")) == (2, True, 1), err
