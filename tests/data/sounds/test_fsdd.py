"""The Free Spoken Digit Dataset: its splits, its classes, a complete copy."""

import shutil
from pathlib import Path

import pytest

from metarun.data import SPLITS, Fsdd
from metarun.data.sounds.fsdd import SPEAKERS, split_by_both, split_by_digit, split_by_four_voices, split_by_speaker
from metarun.errors import UserError
from tests.support.fake_sounds import tone, write_wav

PEOPLE = [speaker for split in SPLITS for speaker in SPEAKERS[split]]
CLASSES = [f"{speaker}/{digit}" for speaker in PEOPLE for digit in range(10)]


def counts(lists):
    return [len(lists[split]) for split in SPLITS]


def people(lists, split):
    return {name.partition("/")[0] for name in lists[split]}


def digits(lists, split):
    return {name[-1] for name in lists[split]}


def test_by_speaker_no_speaker_is_in_two_splits():
    lists = split_by_speaker(CLASSES)
    assert counts(lists) == [30, 10, 20]
    assert people(lists, "test") == {"theo", "yweweler"}
    assert people(lists, "val") == {"nicolas"}


def test_by_digit_no_digit_is_in_two_splits():
    lists = split_by_digit(CLASSES)
    assert counts(lists) == [30, 12, 18]
    assert [digits(lists, split) for split in SPLITS] == [set("01234"), set("56"), set("789")]


def test_by_both_meta_test_has_digits_and_speakers_that_nothing_else_has():
    lists = split_by_both(CLASSES)
    assert counts(lists) == [15, 5, 10]
    assert digits(lists, "test") == set("56789")
    assert not digits(lists, "test") & (digits(lists, "train") | digits(lists, "val"))
    assert not people(lists, "test") & (people(lists, "train") | people(lists, "val"))
    assert not people(lists, "train") & people(lists, "val")


def test_four_voices_trains_on_one_more_and_has_the_meta_test_of_both():
    lists = split_by_four_voices(CLASSES)
    assert counts(lists) == [20, 8, 10]
    assert lists["test"] == split_by_both(CLASSES)["test"]
    assert people(lists, "train") == people(lists, "val") == set(PEOPLE) - people(lists, "test")
    assert not digits(lists, "train") & (digits(lists, "val") | digits(lists, "test"))


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Two recordings of each class, all the same tone."""
    monkeypatch.setattr("metarun.data.sounds.fsdd.PER_CLASS", 2)
    folder = tmp_path / "recordings"
    first = folder / "0_george_0.wav"
    write_wav(first, tone(300, seconds=0.05))
    for speaker in PEOPLE:
        for digit in range(10):
            for index in range(2):
                if not (path := folder / f"{digit}_{speaker}_{index}.wav").exists():
                    path.hardlink_to(first)
    return folder


def test_a_complete_copy_is_read(root, copy):
    (root / "audio").mkdir(parents=True)
    (root / "audio" / "recordings").symlink_to(copy)
    source = Fsdd(seconds=0.05)
    assert source.where() == str(root / "audio" / "recordings")
    data = source.load()
    assert data.splits["train"].class_names[:2] == ("george/0", "george/1")
    assert set(data.splits["test"].sizes) == {2}
    (root / "audio" / "recordings").unlink()
    assert source.where().startswith("cache: ")
    assert source.load().hash == data.hash, "a cached one needs no originals"


def test_backwards_doubles_the_classes_of_meta_train_alone(root, copy):
    (root / "audio").mkdir(parents=True)
    (root / "audio" / "recordings").symlink_to(copy)
    plain, doubled = Fsdd(seconds=0.05).load(), Fsdd(seconds=0.05, backwards=True).load()
    train = doubled.splits["train"]
    assert len(train.class_names) == 60
    assert train.class_names[30] == "george/0 backwards"
    assert (train.of_class("george/0 backwards") == plain.splits["train"].of_class("george/0")[..., ::-1]).all()
    assert (train.of_class("george/0") == plain.splits["train"].of_class("george/0")).all()
    assert doubled.splits["test"].class_names == plain.splits["test"].class_names
    speakers = doubled.example_groups["speaker"]["train"]
    assert speakers.names == ("george", "jackson", "lucas")
    assert len(speakers.numbers) == len(train.values)
    assert Fsdd(seconds=0.05).load().hash == plain.hash, "each has a cache of its own"


def test_an_incomplete_copy_is_refused(root, copy):
    shutil.copytree(copy, root / "audio" / "recordings", copy_function=lambda _, other: Path(other).touch())
    (root / "audio" / "recordings" / "7_theo_1.wav").unlink()
    with pytest.raises(UserError, match=r"has 1 recordings of theo/7 but fsdd has 2; get a complete copy"):
        Fsdd().load()
    (root / "audio" / "recordings" / "7_theo_1.wav").touch()
    (root / "audio" / "recordings" / "7_somebody_0.wav").touch()
    with pytest.raises(UserError, match=r"has 1 recordings of somebody/7 but fsdd has 0; .*data=audio"):
        Fsdd().load()


def test_without_a_copy_it_says_where_to_put_one(root, closed_port, monkeypatch):
    monkeypatch.setattr("metarun.data.sounds.fsdd.OFFICIAL", f"http://127.0.0.1:{closed_port}/fsdd.zip")
    assert Fsdd().where() is None
    message = r"fsdd was not found and could not be downloaded \(.*\); put a clone or the zip of https://github.com/"
    with pytest.raises(UserError, match=message):
        Fsdd().load()


def test_it_is_downloaded(root, copy, tmp_path, web, monkeypatch):
    monkeypatch.setattr("metarun.data.sounds.fsdd.OFFICIAL", f"{web.url}/fsdd.zip")
    web.files["/fsdd.zip"] = Path(
        shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, copy.name)
    ).read_bytes()
    assert Fsdd(seconds=0.05).load().splits["test"].class_names[0] == "theo/0"
    assert (root / "audio" / "fsdd_recordings.zip").is_file()


def test_an_unknown_split_is_refused(root, copy):
    (root / "audio").mkdir(parents=True)
    (root / "audio" / "recordings").symlink_to(copy)
    with pytest.raises(
        UserError,
        match=r"split 'speakers' of fsdd is neither both nor digit nor four_voices nor pairs nor speaker.*'speaker'",
    ):
        Fsdd(split="speakers").load()


@pytest.mark.slow
def test_the_real_recordings_are_what_the_card_says(root, mirror, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    data = Fsdd(split="both").load()
    assert data.shape == (1, 32, 64)
    assert [len(data.splits[split].values) for split in SPLITS] == [750, 250, 500]
    assert Fsdd(split="both").check().endswith("the cache matches")
