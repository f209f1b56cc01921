"""Recordings of the user's own: layouts, what is skipped, what is refused."""

import shutil
import zipfile

import numpy as np
import pytest
import soundfile

from metarun.data import SPLITS, Audio
from metarun.errors import UserError
from tests.support.fake_sounds import tone, write_tones, write_wav

NAMES = [f"c{i}" for i in range(6)]
SMALL = {"rate": 8_000, "seconds": 0.2, "mels": 8, "fft": 256, "hop": 100}


@pytest.fixture
def sounds(root, tmp_path):
    """Six classes of three tones."""
    folder = tmp_path / "sounds"
    write_tones(folder, NAMES)
    return folder


def load(folder, **settings):
    return Audio(str(folder), **{**SMALL, **settings}).load()


def classes(data):
    return {split: data.splits[split].class_names for split in SPLITS}


def table(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return str(path)


def test_folders_are_classes_split_by_seed(sounds):
    data = load(sounds)
    assert sorted(name for names in classes(data).values() for name in names) == NAMES
    assert {len(names) for names in classes(data).values()} == {2}
    assert data.shape == (1, 8, 16)
    assert data.splits["train"].values.dtype == np.float32
    assert data.floor_vectors == "over_time"


def test_meta_train_has_mean_0_and_deviation_1(sounds):
    train = load(sounds).splits["train"].values
    assert train.mean() == pytest.approx(0, abs=1e-5)
    assert train.std() == pytest.approx(1, abs=1e-5)


def test_a_class_is_told_by_its_pitch(sounds):
    data = load(sounds, mels=20)
    bands = {name: data.splits[s].of_class(name)[0, 0, :, 8].argmax() for s in SPLITS for name in classes(data)[s]}
    assert [bands[name] for name in NAMES] == sorted(bands.values())
    assert bands["c0"] < bands["c5"]


def test_a_zip_holds_what_its_folder_does(sounds, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "sounds")
    assert load(archive).hash == load(sounds).hash


def test_folders_train_val_and_test_are_splits(root, tmp_path):
    for split in SPLITS:
        write_tones(tmp_path / "s" / split, [f"{split}-{i}" for i in range(2)])
    write_wav(tmp_path / "s" / "rest" / "a.wav", tone(400))
    data = load(tmp_path / "s")
    assert classes(data) == {split: (f"{split}-0", f"{split}-1") for split in SPLITS}
    assert data.skipped.warnings == ("1 recording outside train, val and test skipped",)


def test_a_split_file_names_classes(sounds, tmp_path):
    split = tmp_path / "split.json"
    split.write_text('{"train": ["c5", "c4"], "val": ["c1"], "test": ["c0"]}')
    data = load(sounds, split=str(split))
    assert classes(data) == {"train": ("c4", "c5"), "val": ("c1",), "test": ("c0",)}
    assert data.skipped.unlisted == ("2 classes not in split.json",)


def test_a_table_names_classes_and_splits(root, tmp_path):
    for i in range(12):
        write_wav(tmp_path / "s" / "all" / f"{i}.wav", tone(300 + 50 * (i // 2)))
    rows = [f"all/{i}.wav,w{i // 2},{SPLITS[i // 4]}" for i in range(12)]
    path = table(tmp_path, "\n".join(["file,word,part", *rows, rows[0]]))
    data = load(tmp_path / "s", table=path, filename="file", label="word", split_column="part")
    assert classes(data) == {"train": ("w0", "w1"), "val": ("w2", "w3"), "test": ("w4", "w5")}
    assert data.skipped.warnings == ("1 row of labels.csv that repeat another skipped",)


def test_classes_of_a_table_are_called_as_they_are_written(sounds, tmp_path):
    names = ["7", "07", "007", "NA", "None", "1.0"]
    rows = [f"c{i}/{j}.wav,{name}" for i, name in enumerate(names) for j in range(2)]
    data = load(sounds, table=table(tmp_path, "\n".join(["filename,label", *rows])))
    assert sorted(name for own in classes(data).values() for name in own) == sorted(names)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("path,label\n", {}, "has no rows"),
        ("path,label\nc0/0.wav,a", {}, r"has no column 'filename' \(data.filename\); its columns are path, label"),
        ("filename,labl\nc0/0.wav,a", {}, r"has no column 'label' \(data.label\).*Did you mean 'labl'"),
        (
            "filename,label\nc0/0.wav,a\nc0/9.wav,a",
            {},
            "line 3 of .*labels.csv names 'c0/9.wav', which is not in .*sounds",
        ),
        ("filename,label\nc0/0.wav,a\nc0/0.wav,b", {}, "line 3 of .* gives 'c0/0.wav' the class 'b' but line 2 'a'"),
        ("filename,label\nc0/0.wav,\nc0/1.wav,a", {}, "line 2 of .* has no value in column 'label'"),
        (
            "filename,label,s\nc0/0.wav,a,train\nc0/1.wav,a,test",
            {"split_column": "s"},
            "line 3 of .* puts class 'a' into 'test' but line 2 into 'train'",
        ),
        ("filename,label,s\nc0/0.wav,a,dev", {"split_column": "s"}, "class 'a' of .* has the split 'dev'"),
    ],
)
def test_a_wrong_table_is_refused(sounds, tmp_path, text, settings, message):
    with pytest.raises(UserError, match=message):
        load(sounds, table=table(tmp_path, text), **settings)


def test_what_cannot_be_used_is_counted(sounds):
    write_wav(sounds / "c0" / "silent.wav", np.zeros(1_600))
    write_wav(sounds / "c0" / "empty.wav", np.zeros(0))
    (sounds / "c0" / "nothing.wav").touch()
    write_wav(sounds / "c0" / "click.wav", tone(400, seconds=0.02))
    write_wav(sounds / "c6" / "one.wav", tone(900))
    (sounds / "c0" / "video.mp4").write_bytes(b"?")
    notes = load(sounds).skipped.warnings
    assert set(notes) == {
        "skipped, because they are not recordings: 1 .mp4",
        "2 recordings skipped because they are empty, such as c0/empty.wav",
        "1 recording skipped because it is shorter than data.fft=256 samples, c0/click.wav",
        "1 recording skipped because it is silent, c0/silent.wav",
        "1 class with fewer than two usable recordings skipped, 'c6'",
    }


def test_long_recordings_are_cropped_and_counted(sounds):
    write_wav(sounds / "c1" / "long.wav", tone(400, seconds=1.5))
    assert load(sounds).skipped.unlisted == ("the ends of 1 recording longer than data.seconds=0.2 (up to 1.5 s)",)


def test_mixed_rates_are_converted_and_counted(sounds):
    write_wav(sounds / "c0" / "other.wav", tone(300, rate=44_100), rate=44_100)
    data = load(sounds)
    assert data.skipped.warnings == (
        "sample rates differ from data.rate=8000 and were converted: 18 of 8,000 Hz, 1 of 44,100 Hz",
    )
    split = next(split for split in SPLITS if "c0" in classes(data)[split])
    *others, resampled = data.splits[split].of_class("c0")
    assert np.abs(resampled - others[0])[0, 0:3, 3:-3].max() < 0.1  # the loud bands


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_stereo_and_other_formats_are_read(sounds, suffix):
    both = np.stack([tone(300), 0.5 * tone(300)], axis=1)
    (sounds / "c0" / "0.wav").unlink()
    soundfile.write(sounds / "c0" / f"0.{suffix}", both, 8_000)
    data = load(sounds)
    assert sum(len(data.splits[split].values) for split in SPLITS) == 18


def test_a_file_that_cannot_be_decoded_is_named(sounds):
    (sounds / "c3" / "0.wav").write_bytes(b"no sound at all")
    with pytest.raises(UserError, match=r"sounds: c3/0.wav cannot be decoded \(.*\); fix or remove it"):
        load(sounds)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_is_refused(sounds, value):
    samples = tone(300)
    samples[7] = value
    soundfile.write(sounds / "c3" / "0.wav", samples, 8_000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"c3/0.wav has a sample that is NaN or infinite"):
        load(sounds)


def test_a_split_without_usable_classes_is_refused(root, tmp_path):
    for split in SPLITS:
        write_tones(tmp_path / "s" / split, [f"{split}-0"], count=1 if split == "val" else 2)
    with pytest.raises(UserError, match=r"no class of split 'val' in .* has two usable recordings .*add some"):
        load(tmp_path / "s")


def test_wrong_places_are_refused(root, tmp_path):
    with pytest.raises(UserError, match=r"data=audio needs recordings; set `data.root`"):
        Audio().load()
    with pytest.raises(UserError, match=r"data.root=nowhere does not exist"):
        Audio("nowhere").load()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    with pytest.raises(UserError, match=r"has no recordings \(.wav, .flac, .ogg, .opus\), only 1 .png"):
        load(tmp_path / "pictures")
    write_wav(tmp_path / "flat" / "a.wav", tone(300))
    with pytest.raises(UserError, match=r"a.wav in .*flat is not in a class folder; .*data.table=FILE"):
        load(tmp_path / "flat")
    with pytest.raises(UserError, match=r"data.split_column=s but there is no table"):
        Audio("flat", split_column="s")


def test_missing_packages_are_named(sounds, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(UserError, match=r"recordings need soundfile and soxr .*pip install 'metarun\[audio\]'"):
        load(sounds)


def test_a_cache_is_used_until_a_file_changes(sounds, settled, monkeypatch):
    first = load(sounds)
    source = Audio(str(sounds), **SMALL)
    assert all(path.exists() for path in source.cache_files())
    assert source.check().endswith("the cache matches")
    with monkeypatch.context() as patch:
        patch.setattr("metarun.data.sounds.recordings.decode", None)
        assert load(sounds).hash == first.hash
        assert load(sounds, storage="disk").hash == first.hash
    write_wav(sounds / "c0" / "0.wav", tone(2_000))
    assert load(sounds).hash != first.hash


def test_a_damaged_zip_is_named(root, tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"PK nothing")
    with pytest.raises(UserError, match=r"bad.zip is not a valid zip archive"):
        load(tmp_path / "bad.zip")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("../c0/a.wav", b"")
    with pytest.raises(UserError, match="a path outside the archive"):
        load(tmp_path / "out.zip")
