"""A user's own files become the examples that a data set would make of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from metarun.data import Audio, Glyphs, ImageFolder, RegressionTable, Table, Text
from metarun.data.encoders import RowEncoder, encoder_of
from metarun.data.encoding import Encoding
from metarun.data.examples import ClassDataset
from metarun.data.own.examples import read_examples, support_of
from metarun.errors import UserError
from tests.support.fake_images import write_pictures
from tests.support.fake_sounds import tone, write_tones, write_wav
from tests.support.fake_texts import write_texts


def stored_encoder(data: ClassDataset):
    """The encoder of a data set, after its encoding went through a file."""
    return encoder_of(Encoding.from_arrays(data.encoding().to_arrays()))


@pytest.mark.parametrize("features", ["tfidf", "tokens"])
def test_texts_get_the_features_of_training(root, tmp_path, features):
    write_texts(tmp_path / "texts.csv", classes=8)
    source = Text(tmp_path / "texts.csv", features=features, size=64)
    for data in (source.load(), source.load()):  # made, and from the cache
        found = read_examples(stored_encoder(data), tmp_path / "texts.csv")
        for examples in data.splits.values():
            for name in examples.class_names:
                rows = [row for row, label in enumerate(found.labels) if label == name]
                assert np.array_equal(found.values[rows], examples.of_class(name))


def test_a_cache_of_an_earlier_version_has_no_encoding_which_is_then_made(root, tmp_path):
    write_texts(tmp_path / "texts.csv", classes=8)
    made = Text(tmp_path / "texts.csv", size=64).load().encoding()
    (stored,) = (root / "texts").glob("*-encoding.npz")
    for content in (None, b"damaged"):
        stored.unlink() if content is None else stored.write_bytes(content)
        again = Text(tmp_path / "texts.csv", size=64).load().encoding()
        assert again.settings == made.settings
        assert all(np.array_equal(again.arrays[name], array) for name, array in made.arrays.items())
        assert stored.exists()


def test_texts_without_a_class_or_a_character_are_found(root, tmp_path):
    write_texts(tmp_path / "texts.csv", classes=8)
    encoder = stored_encoder(Text(tmp_path / "texts.csv", features="tokens").load())
    (tmp_path / "new.csv").write_text('text\n"play, please"\n""\n')
    found = read_examples(encoder, tmp_path / "new.csv")
    assert [each.name for each in found.found] == ["new.csv:2", "new.csv:3"]
    assert [each.error for each in found.found] == ["", f"line 3 of {tmp_path / 'new.csv'} has no characters"]
    assert found.labels == [None]
    folder = tmp_path / "mine" / "music"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("play")
    (folder / "b.txt").write_bytes(b"caf\xe9")
    (folder / "c.md").write_text("notes")
    found = read_examples(encoder, tmp_path / "mine")
    assert [(each.label, each.error) for each in found.found] == [
        ("music", ""),
        ("music", "line 1 of music/b.txt is not UTF-8 (byte 0xe9)"),
    ]
    assert found.skipped == "skipped, because they are not texts: 1 .md"


def test_recordings_are_scaled_as_in_training(root, tmp_path):
    write_tones(tmp_path / "tones", [f"c{i}" for i in range(8)])
    data = Audio(tmp_path / "tones", rate=8_000, seconds=0.2, mels=8, fft=128, hop=64).load()
    write_wav(tmp_path / "new" / "one" / "silent.wav", 0 * tone(440))
    write_wav(tmp_path / "new" / "short.wav", tone(440, seconds=0.001))
    (tmp_path / "new" / "broken.wav").write_bytes(b"no")
    encoder = stored_encoder(data)
    examples = data.splits["test"]
    name = examples.class_names[0]
    found = read_examples(encoder, tmp_path / "tones" / name)
    assert np.array_equal(found.values, examples.of_class(name))
    wrong = read_examples(encoder, tmp_path / "new").found
    assert [(each.name, each.error.partition(" (")[0]) for each in wrong] == [
        ("broken.wav", "broken.wav cannot be decoded"),
        ("one/silent.wav", "one/silent.wav is silent"),
        ("short.wav", "short.wav is shorter than data.fft=128 samples"),
    ]
    table = pd.DataFrame({"filename": [f"{name}/0.wav", f"{name}/2.wav"], "label": ["a", 7]})
    table.to_csv(tmp_path / "tones" / "list.csv", index=False)
    found = read_examples(encoder, tmp_path / "tones" / "list.csv")
    assert found.labels == ["a", "7"]
    assert np.array_equal(found.values, examples.of_class(name)[[0, 2]])


def flowers(path: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 2)), columns=["length", "width"])
    table = table.assign(colour=np.tile(["red", "blue", "white"], 20), species=np.repeat(list("abcdefghij"), 6))
    table.to_csv(path, index=False)
    return table


def test_rows_are_scaled_as_in_training(root, tmp_path):
    flowers(tmp_path / "flowers.csv")
    data = Table(tmp_path / "flowers.csv", label="species").load()
    found = read_examples(stored_encoder(data), tmp_path / "flowers.csv")
    for examples in data.splits.values():
        for name in examples.class_names:
            rows = [row for row, label in enumerate(found.labels) if label == name]
            assert np.array_equal(found.values[rows], examples.of_class(name))


def test_classes_of_rows_are_called_as_they_are_written(root, tmp_path):
    flowers(tmp_path / "flowers.csv")
    encoder = stored_encoder(Table(tmp_path / "flowers.csv", label="species").load())
    (tmp_path / "new.csv").write_text("length,width,colour,species\n1,2,red,007\n1,2,red,7\n1,2,red,NA\n1,2,red,\n")
    assert read_examples(encoder, tmp_path / "new.csv").labels == ["007", "7", "NA", None]


def test_a_row_that_is_no_input_has_its_reason(root, tmp_path):
    flowers(tmp_path / "flowers.csv")
    data = Table(tmp_path / "flowers.csv", label="species", missing="error").load()
    new = "length,width,colour\n1,2,red\nlong,2,red\n1,inf,red\n1,,red\n1,2,green\n"
    (tmp_path / "new.csv").write_text(new)
    found = read_examples(stored_encoder(data), tmp_path / "new.csv")
    assert [each.error for each in found.found] == [
        "",
        "line 3 of new.csv has 'long' in column 'length' but the column takes numbers",
        "line 4 of new.csv has an infinite number in column 'width'",
        "line 5 of new.csv has no value in column 'width'",
        "",
    ]
    assert found.values[1, 2:].tolist() == [0, 0, 0], "meta-train has no green flower"
    (tmp_path / "new.csv").write_text("length,widht,colour\n1,2,red\n")
    with pytest.raises(UserError, match=r"new\.csv has no column 'width', which the run needs.* Did you mean 'widht'"):
        read_examples(stored_encoder(data), tmp_path / "new.csv")


def test_targets_are_scaled_and_scaled_back(root, tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 3)) * 5 + 2, columns=["load", "heat", "noise"])
    table.assign(machine=np.repeat(range(10), 6)).to_csv(tmp_path / "machines.csv", index=False)
    data = RegressionTable(tmp_path / "machines.csv", entity="machine", targets=["noise"]).load()
    encoder = stored_encoder(data.rows)
    assert isinstance(encoder, RowEncoder)
    found = read_examples(encoder, tmp_path / "machines.csv")
    np.testing.assert_allclose(encoder.targets.numbers(found.targets), table[["noise"]], rtol=1e-5)
    machine = data.rows.splits["test"].class_names[0]
    own = [row for row, label in enumerate(found.labels) if label == machine]
    assert np.array_equal(found.values[own], data.rows.splits["test"].of_class(machine)["x"])
    with pytest.raises(UserError, match="has rows of 10 entities, such as '0' and '1'"):
        support_of(found, tmp_path / "machines.csv")
    (tmp_path / "new.csv").write_text("load,heat,noise\n1,2,\n1,2,3\n")
    found = read_examples(encoder, tmp_path / "new.csv")
    assert np.isnan(found.targets).tolist() == [[True], [False]]
    with pytest.raises(UserError, match=r"new\.csv:2 has no target"):
        support_of(found, tmp_path / "new.csv")


@pytest.mark.slow
@pytest.mark.sampled
def test_pictures_are_inverted_where_the_data_are_light_on_dark(root, tmp_path):
    write_pictures(tmp_path / "pictures", count=2)
    folder = ImageFolder(tmp_path / "pictures", size=8, channels=1).load()
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    for data, expected in ((folder, 255), (Glyphs().load(), 0)):
        assert set(np.unique(read_examples(stored_encoder(data), tmp_path / "white.png").values)) == {expected}


@pytest.mark.parametrize(
    ("encoding", "sentence"),
    [
        (Encoding("pictures", {"size": 8}), "its encoding of pictures is damaged"),
        (Encoding("texts", {"size": 8, "text": "text", "label": "label"}), "its encoding of texts is damaged"),
        (Encoding("rows", {"inputs": []}), "its encoding of rows is damaged"),
    ],
)
def test_a_damaged_encoding_is_refused(encoding, sentence):
    with pytest.raises(ValueError, match=sentence):
        encoder_of(encoding)
