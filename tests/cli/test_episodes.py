"""`metarun test run=RUN episodes=FILE`: a run on tasks that a file lists."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metarun as library
from metarun.data import Glyphs

SMALL = {
    **{"data": "glyphs", "train.iterations": 0, "train.validate_tasks": 2, "test.tasks": 2},
    **{"backbone.norm": "layer", "backbone.filters": 4},
}


pytestmark = [pytest.mark.slow, pytest.mark.sampled]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, library.Run]:
    """Untrained networks, whose random features tell glyphs apart well enough."""
    folder = str(tmp_path_factory.mktemp("episodes") / "results")
    return {algo: library.train(algo=algo, results_dir=folder, **SMALL) for algo in ("protonet", "reptile")}


@pytest.fixture
def episodes(tmp_path: Path) -> Path:
    """Two episodes, of two and of three classes with unequal shots, in the current folder."""
    examples = Glyphs().load().splits["test"]
    for c in range(3):
        for i, glyph in enumerate(examples.of_class(examples.class_names[7 * c])[:6]):
            Image.fromarray(255 - glyph[0]).save(tmp_path / f"{c}-{i}.png")
    listed = [
        {"support": {"a": ["0-0.png"], "b": ["1-0.png"]}, "query": {"a": ["0-1.png"], "b": ["1-1.png"]}},
        {
            "support": {str(c): [f"{c}-{i}.png" for i in range(c + 1)] for c in range(3)},
            "query": {str(c): [f"{c}-{i}.png" for i in range(3, 6)] for c in range(3)},
        },
    ]
    (tmp_path / "mine.json").write_text(json.dumps(listed))
    return tmp_path / "mine.json"


def record_of(out: str) -> dict:
    return json.loads((Path(out.rpartition("→ ")[2].strip()) / "result.json").read_text())


def test_a_run_is_tested_on_listed_episodes(metarun, episodes, runs):
    run = runs["protonet"]
    code, out, err = metarun("test", f"run={run.path}", "episodes=mine.json")
    assert code == 0, err
    row = record_of(out)
    assert (row["test_way"], row["test_shot"], row["test_query"]) == ("2..3", "1..3", 3)
    assert (row["test_tasks"], row["test_data"], row["data"]) == (2, "episodes", "glyphs")
    learned = []
    for episode in json.loads(episodes.read_text()):
        support = [(file, label) for label, files in episode["support"].items() for file in files]
        query = [(file, label) for label, files in episode["query"].items() for file in files]
        learner = run.adapt(np.concatenate([run.read(file).values for file, _ in support]), [y for _, y in support])
        found = learner.classify(np.concatenate([run.read(file).values for file, _ in query]))
        learned.append(np.mean([a == b for a, (_, b) in zip(found, query, strict=True)]))
    assert row["accuracy"] == pytest.approx(np.mean(learned))
    assert 0 < row["floor_accuracy"] <= 1
    Path("copy").mkdir()
    for file in Path().glob("*.*"):
        (Path("copy") / file.name).write_bytes(file.read_bytes())
    code, out, _ = metarun("test", f"run={run.path}", "episodes=copy/mine.json")
    assert "Already finished" in out, "the id is of the content"
    Image.new("L", (28, 28), 255).save("copy/0-5.png")
    code, out, _ = metarun("test", f"run={run.path}", "episodes=copy/mine.json")
    assert record_of(out)["id"] != row["id"]


@pytest.mark.parametrize(
    ("algo", "words", "sentence"),
    [
        ("protonet", ["episodes=mine.json", "data=glyphs"], "episodes= and data= are both given; omit one of them"),
        (
            "protonet",
            ["episodes=mine.json", "task.way=5"],
            "task.way=5 but the episodes define their tasks",
        ),
        ("protonet", ["episodes=nowhere"], "nowhere does not exist"),
        (
            "reptile",
            ["episodes=mine.json"],
            "this reptile has a fixed head for 5 classes",
        ),
    ],
)
def test_an_invalid_test_is_refused_in_one_sentence(metarun, episodes, runs, algo, words, sentence):
    code, _, err = metarun("test", f"run={runs[algo].path}", *words)
    assert (code, sentence in err) == (2, True), err
