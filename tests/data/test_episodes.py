"""Episodes that a user lists: layouts, what is refused, and what their hash covers."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from metarun.data import Table
from metarun.data.encoders import PictureEncoder, encoder_of
from metarun.data.own.episode_lists import read_episodes
from metarun.errors import UserError

ENCODER = PictureEncoder(4, 1, invert=False)


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), grey).save(path)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Two runs of two classes, laid out as Omniglot's one-shot classification; item01 is of class02."""
    for run in (1, 2):
        for i in (1, 2):
            picture(tmp_path / f"runs/run0{run}/training/class0{i}.png", 10 * run + i)
            picture(tmp_path / f"runs/run0{run}/test/item0{i}.png", 100 * run + i)
        pairs = [f"run0{run}/test/item0{i}.png run0{run}/training/class0{3 - i}.png" for i in (1, 2)]
        (tmp_path / f"runs/run0{run}/class_labels.txt").write_text("\n".join(pairs) + "\n")
    return tmp_path / "runs"


def greys(path: Path) -> list[list[tuple[str, int, int]]]:
    """Of each episode the set, the label and the grey of its pictures."""
    found = read_episodes(ENCODER, path)
    return [
        [
            *(("s", label, found.values[row].max()) for label, row in zip(each.support_y, each.support, strict=True)),
            *(("q", label, found.values[row].max()) for label, row in zip(each.query_y, each.query, strict=True)),
        ]
        for each in found.episodes
    ]


EXPECTED = [
    [("s", 0, 11), ("s", 1, 12), ("q", 0, 102), ("q", 1, 101)],
    [("s", 0, 21), ("s", 1, 22), ("q", 0, 202), ("q", 1, 201)],
]


def test_omniglots_one_shot_runs_are_episodes(lake, tmp_path):
    assert greys(lake) == EXPECTED
    with zipfile.ZipFile(tmp_path / "all_runs.zip", "w") as archive:
        for file in sorted(lake.rglob("*.*")):
            archive.write(file, file.relative_to(lake))
    assert greys(tmp_path / "all_runs.zip") == EXPECTED
    assert read_episodes(ENCODER, tmp_path / "all_runs.zip").hash == read_episodes(ENCODER, lake).hash
    assert read_episodes(ENCODER, lake).check() == "2 episodes of 2w1s, 8 different examples"


def test_a_list_a_table_and_folders_name_the_same_episodes(lake, tmp_path):
    listed = [
        {
            "support": {f"c{i}": [f"run0{run}/training/class0{i}.png"] for i in (1, 2)},
            "query": {f"c{3 - i}": [f"run0{run}/test/item0{i}.png"] for i in (1, 2)},
        }
        for run in (1, 2)
    ]
    (lake / "list.json").write_text(json.dumps(listed))
    rows = [
        {"episode": f"e{number}", "set": which, "filename": file, "label": label}
        for number, episode in enumerate(listed)
        for which, classes in episode.items()
        for label, files in classes.items()
        for file in files
    ]
    pd.DataFrame(rows).to_csv(lake / "table.csv", index=False)
    for row in rows:
        place = tmp_path / "folders" / row["episode"] / row["set"] / row["label"]
        place.mkdir(parents=True, exist_ok=True)
        (place / "1.png").write_bytes((lake / row["filename"]).read_bytes())
    for path in (lake / "list.json", lake / "table.csv", tmp_path / "folders"):
        assert greys(path) == EXPECTED, path


def test_rows_of_a_table_can_be_episodes(root, tmp_path):
    rng = np.random.default_rng(0)
    flowers = pd.DataFrame(rng.normal(size=(60, 2)), columns=["length", "width"])
    flowers = flowers.assign(species=np.repeat(list("abcdefghij"), 6))
    flowers.to_csv(tmp_path / "flowers.csv", index=False)
    encoder = encoder_of(Table(tmp_path / "flowers.csv", label="species").load().encoding())
    sets = ["support", "support", "support", "query", "query", "query"]
    chosen = flowers[flowers.species.isin(["c", "a"])].assign(episode=1, set=sets * 2)
    chosen.sample(frac=1, random_state=0).to_csv(tmp_path / "episodes.csv", index=False)
    found = read_episodes(encoder, tmp_path / "episodes.csv")
    assert found.episodes[0].support_y.tolist() == [0, 0, 0, 1, 1, 1]
    expected = encoder.encode(flowers[flowers.species == "c"].head(3))
    assert sorted(found.values[found.episodes[0].support[3:]].tolist()) == sorted(expected.tolist())


def spoil(lake: Path, how: str) -> Path:
    listed = [{"support": {"a": ["a.png"], "b": ["b.png"]}, "query": {"a": ["q.png"]}}]
    for name in ("a", "b", "q"):
        picture(lake / f"{name}.png", 5)
    if how == "labels":
        (lake / "run01/class_labels.txt").write_text("run01/test/item01.png run01/training/class09.png\n")
        return lake
    if how == "one class":
        del listed[0]["support"]["b"]
    elif how == "strange":
        listed[0]["query"] = {"c": ["q.png"]}
    elif how == "shared":
        listed[0]["query"] = {"a": ["a.png"]}
    elif how == "no query":
        listed[0]["query"] = {}
    elif how == "broken":
        (lake / "q.png").write_bytes(b"no picture")
    elif how == "absent":
        (lake / "q.png").unlink()
    elif how == "no list":
        listed = [{"support": ["a.png"]}]
    (lake / "list.json").write_text(json.dumps(listed))
    return lake / "list.json"


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("labels", r"line 1 of run01/class_labels\.txt in .*runs does not name a query and the file of its class"),
        ("one class", r"episode '1' of .*list\.json has 1 class in its support set"),
        ("strange", r"has a query of class 'c' \(q\.png\), which is not in its support set"),
        ("shared", r"has a\.png in its support set and among its queries"),
        ("no query", r"episode '1' of .* has no query"),
        ("broken", r"list\.json: q\.png cannot be decoded \(not a picture\)"),
        ("absent", r"list\.json: .*q\.png is a broken link, a pipe or a device"),
        ("no list", r"list\.json is not a list of episodes"),
    ],
)
def test_what_is_no_task_is_refused_in_one_sentence(lake, how, sentence):
    with pytest.raises(UserError, match=sentence):
        read_episodes(ENCODER, spoil(lake, how))


def test_the_hash_covers_examples_and_labels_but_no_names(lake):
    before = read_episodes(ENCODER, lake).hash
    lake.rename(lake.with_name("renamed"))
    assert read_episodes(ENCODER, lake.with_name("renamed")).hash == before
    picture(lake.with_name("renamed") / "run02/test/item02.png", 7)
    assert read_episodes(ENCODER, lake.with_name("renamed")).hash != before
