"""Which group each example is of, in every kind of data that knows it."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from metarun.data import SPLITS, Audio, ClassDataset, Glyphs, ImageFolder, Omniglot, Table, Text
from metarun.data.pictures.glyph_drawing import FACES
from metarun.errors import UserError
from tests.support.fake_sounds import tone, write_wav

CLASSES = [f"c{i}" for i in range(10)]
PEOPLE = ("ann", "ben", "cid")


def groups_of(data: ClassDataset, grouping: str) -> dict[str, list[str]]:
    """Return the groups of the examples of each class, in their order."""
    found = {}
    for split in SPLITS:
        groups, examples = data.example_groups[grouping][split], data.splits[split]
        names = [groups.names[number] for number in groups.numbers]
        for name, start, end in zip(examples.class_names, examples.offsets, examples.offsets[1:], strict=False):
            found[name] = names[start:end]
    return found


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def rows():
    """Rows of each class by people in turns, mixed among each other, with who was in charge as a number."""
    return [[f"{100 * i + k}", c, PEOPLE[(i + k) % 3], k % 2] for k in range(4) for i, c in enumerate(CLASSES)]


EXPECTED = {c: [PEOPLE[(i + k) % 3] for k in range(4)] for i, c in enumerate(CLASSES)}


def test_rows_of_a_table(root, tmp_path, rows):
    write_rows(path := tmp_path / "rows.csv", [["x", "kind", "person", "shift"], *rows])
    for _ in range(2):  # made, then from the cache
        data = Table(path, "kind", groups=["person", "shift"]).load()
        assert groups_of(data, "person") == EXPECTED
        assert groups_of(data, "shift")["c3"] == ["0", "1", "0", "1"]
        assert data.shape == (1,), "groups do not describe a row"
    assert Table(path, "kind").load().example_groups == {}
    write_rows(path, [["x", "kind", "person"], *([x, c, "" if x == "301" else p] for x, c, p, _ in rows)])
    with pytest.raises(UserError, match=r"line 15 of .* has no value in column 'person'; fill it"):
        Table(path, "kind", groups=["person"]).load()
    with pytest.raises(UserError, match=r"has no column 'persons' \(data.groups\); .* Did you mean 'person'"):
        Table(path, "kind", groups=["persons"]).load()


def test_texts_of_a_table_and_of_json_lines(root, tmp_path, rows):
    texts = [[f"text {x}", c, p, shift] for x, c, p, shift in rows]
    texts.insert(3, ["", "c0", "ann", 0])  # skipped
    names = ["text", "label", "person", "shift"]
    write_rows(as_csv := tmp_path / "texts.csv", [names, *texts])
    as_json = tmp_path / "texts.jsonl"
    as_json.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in texts))
    for path in (as_csv, as_json):
        for _ in range(2):
            data = Text(path, features="tokens", groups=["person", "shift"]).load()
            assert groups_of(data, "person") == EXPECTED
            assert groups_of(data, "shift")["c3"] == ["0", "1", "0", "1"]
    write_rows(as_csv, [names, ["a", "b", "", 0]])
    with pytest.raises(UserError, match=r"line 2 of .* has no value in 'person' \(data.groups\); fill it"):
        Text(as_csv, features="tokens", groups=["person"]).load()
    (tmp_path / "c0").mkdir()
    with pytest.raises(UserError, match=r"data.groups=\[person\] names columns but .* holds files of texts"):
        Text(tmp_path, groups=["person"]).load()


def test_recordings_of_a_table(root, tmp_path, rows):
    (place := tmp_path / "sounds").mkdir()
    for x, *_ in rows:
        write_wav(place / f"{x}.wav", tone(200 + int(x), seconds=0.05))
    write_wav(place / "301.wav", np.zeros(400, np.float32))  # silent, so it is skipped
    write_rows(
        table := place / "table.csv", [["filename", "label", "person"], *([f"{x}.wav", c, p] for x, c, p, _ in rows)]
    )
    audio = Audio(place, table, rate=8000, seconds=0.05, mels=8, fft=64, hop=50, groups=["person"])
    for _ in range(2):
        found = groups_of(audio.load(), "person")
        assert found["c3"] == [EXPECTED["c3"][k] for k in (0, 2, 3)]
        assert {c: found[c] for c in CLASSES if c != "c3"} == {c: EXPECTED[c] for c in CLASSES if c != "c3"}
    with pytest.raises(UserError, match=r"data.groups=\[person\] but there is no table; set `data.table`"):
        Audio(place, groups=["person"])


def test_pictures_in_subfolders(root, tmp_path):
    place = tmp_path / "pictures"  # the cache is in the folder beside it
    for split in SPLITS:
        for c in ("a", "b"):
            for k, person in enumerate(PEOPLE[:2]):
                folder = place / split / f"{split}_{c}" / person
                folder.mkdir(parents=True)
                for i in range(2 + k):
                    Image.new("L", (4, 4), 10 * i + k).save(folder / f"{i}.png")
    for _ in range(2):
        data = ImageFolder(place, size=4, channels=1, subfolders="groups").load()
        assert groups_of(data, "subfolder")["test_a"] == ["ann"] * 2 + ["ben"] * 3
        assert data.splits["test"].of_class("test_a")[:, 0, 0, 0].tolist() == [0, 10, 1, 11, 21]
    assert ImageFolder(place, size=4, channels=1).load().splits["test"].class_names[0] == "test_a/ann"
    (place / "test" / "flat").mkdir()
    Image.new("L", (4, 4)).save(place / "test" / "flat" / "0.png")
    with pytest.raises(UserError, match=r"the pictures of 'flat' in .* are in no subfolder; put them into some"):
        ImageFolder(place, size=4, channels=1, subfolders="groups").load()


@pytest.mark.slow
def test_every_letter_is_drawn_in_every_face(root):
    for letter in groups_of(Glyphs().load(), "face").values():
        assert letter[:12] == list(FACES)
        assert set(letter[12:]) <= set(FACES)


@pytest.mark.slow
def test_the_drawers_of_omniglot_are_those_of_the_file_names(mirror, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    data = Omniglot("lake", dict.fromkeys(SPLITS, 1)).load()
    assert all(drawers == [f"{d:02}" for d in range(1, 21)] for drawers in groups_of(data, "drawer").values())
