"""Tasks of all classes of a published set of texts."""

from dataclasses import replace

import numpy as np
import pytest

from metarun.data.encoders import PictureEncoder, TextEncoder
from metarun.data.own.full_way import full_way_episodes
from metarun.data.texts.published_texts import KNOWN_TEXTS
from metarun.data.texts.text_features import Tokens
from metarun.errors import UserError

ENCODER = TextEncoder(Tokens("bytes", 257, 8), "text", "label")


@pytest.fixture
def banking(tmp_path, monkeypatch):
    """A set of two classes: a1 to a4 and b1 to b3 to draw from, A and B1, B2 to test on."""
    monkeypatch.setenv("METARUN_DATA", str(tmp_path))
    monkeypatch.delenv("METARUN_MIRROR", raising=False)
    folder = tmp_path / "text" / "banking77"
    folder.mkdir(parents=True)
    rows = {"train": ["a1", "a2", "a3", "a4", "b1", "b2", "b3"], "test": ["A", "B1", "B2"]}
    for part, texts in rows.items():
        lines = "".join(f"{text},{text[0].lower()}\n" for text in texts)
        (folder / f"{part}.csv").write_text(f"text,category\n{lines}")
    monkeypatch.setitem(KNOWN_TEXTS, "banking77", replace(KNOWN_TEXTS["banking77"], holds=(2, 10)))


def texts_of(episodes, rows):
    bytes_of = [(row["ids"][row["mask"]] - 1).astype(np.uint8).tobytes() for row in episodes.values[rows]]
    return [each.decode() for each in bytes_of]


@pytest.mark.usefixtures("banking")
def test_support_texts_are_drawn_from_train_and_queries_are_the_whole_test_set():
    found = full_way_episodes(ENCODER, "banking77", shot=2, draws=20, seed=0)
    drawn = [texts_of(found, episode.support) for episode in found.episodes]
    for support, episode in zip(drawn, found.episodes, strict=True):
        assert [text[0] for text in support] == ["a", "a", "b", "b"]
        assert len({*support}) == 4
        assert texts_of(found, episode.query) == ["A", "B1", "B2"]
        assert episode.query_y.tolist() == [0, 1, 1]
    assert {text for support in drawn for text in support} == {"a1", "a2", "a3", "a4", "b1", "b2", "b3"}
    again, other = (full_way_episodes(ENCODER, "banking77", shot=2, draws=20, seed=seed) for seed in (0, 1))
    assert found.hash == again.hash != other.hash


@pytest.mark.usefixtures("banking")
def test_tasks_that_a_set_cannot_serve_are_refused(tmp_path):
    with pytest.raises(UserError, match="shot=4 but class 'b' has 3 texts in the train set of banking77; lower `task"):
        full_way_episodes(ENCODER, "banking77", shot=4, draws=1, seed=0)
    with pytest.raises(UserError, match="episodes=banking77 has texts but the run takes a picture; use a run on texts"):
        full_way_episodes(PictureEncoder(8, 1, False), "banking77", shot=1, draws=1, seed=0)
    (tmp_path / "text" / "banking77" / "train.csv").write_text("text,category\na1,a\nb1,b\n")
    with pytest.raises(UserError, match="has 2 classes and 5 texts but banking77 has 2 and 10"):
        full_way_episodes(ENCODER, "banking77", shot=1, draws=1, seed=0)
