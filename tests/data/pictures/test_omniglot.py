import logging
from dataclasses import replace

import numpy as np
import pytest

from metarun.data import SPLITS, Examples, Omniglot
from metarun.data.pictures import omniglot_archive, omniglot_download
from metarun.data.pictures.omniglot import alphabet_of, check_characters, load_characters, rotate, split_random
from metarun.errors import UserError
from tests.support.fake_omniglot import CHARACTERS, PARTS, make_files, write_folders, write_zips, zip_bytes

NAMES = [name for part in CHARACTERS.values() for name in part]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, closed_port):
    monkeypatch.setattr(omniglot_download, "OFFICIAL", f"http://127.0.0.1:{closed_port}/python")
    monkeypatch.setenv("no_proxy", "*")


def load():
    examples = load_characters(PARTS)
    assert list(examples.class_names) == NAMES
    assert examples.values.shape == (100, 1, 28, 28)
    return examples


def cached(root):
    return list(root.rglob("*.npz"))


@pytest.mark.parametrize("folder", ["omniglot", "."])
@pytest.mark.parametrize("write", [write_zips, write_folders])
def test_zips_and_folders_under_the_data_root_are_found(root, folder, write):
    write(root / folder)
    load()


@pytest.mark.parametrize("folder", ["omniglot", "."])
def test_zips_in_a_mirror_folder_are_read_in_place(root, folder, tmp_path, monkeypatch):
    write_zips(tmp_path / "mirror" / folder)
    monkeypatch.setenv("METARUN_MIRROR", str(tmp_path / "mirror"))
    load()
    assert not list(root.rglob("*.zip"))


@pytest.mark.parametrize("prefix", ["/data/omniglot", "/data"])
def test_a_mirror_url_is_downloaded_from(root, web, prefix, monkeypatch):
    web.files = {f"{prefix}/{part}.zip": zip_bytes(make_files(part)) for part in CHARACTERS}
    monkeypatch.setenv("METARUN_MIRROR", f"{web.url}/data/")
    load()
    assert {path.name for path in (root / "omniglot").glob("*.zip")} == {f"{part}.zip" for part in CHARACTERS}


def test_the_official_download_comes_last_and_resumes(root, web, monkeypatch):
    monkeypatch.setattr(omniglot_download, "OFFICIAL", web.url)
    web.files = {f"/{part}.zip": zip_bytes(make_files(part)) for part in CHARACTERS}
    web.cut_after = 1000
    with pytest.raises(UserError, match=r"could not be downloaded .*1,000 bytes are kept and the next try resumes"):
        load_characters(PARTS)
    assert not cached(root)
    web.cut_after = None
    load()
    assert ("/images_background.zip", "bytes=1000-") in web.requests


def test_the_cache_comes_first_without_requests(root, web, monkeypatch):
    write_zips(root)
    built = load()
    for path in root.glob("*.zip"):
        path.unlink()
    monkeypatch.setenv("METARUN_MIRROR", web.url)
    assert np.array_equal(load().values, built.values)
    assert web.requests == []


def test_the_data_root_comes_before_the_mirror(root, tmp_path, monkeypatch):
    write_zips(root)
    (tmp_path / "images_background.zip").write_bytes(b"damaged")
    monkeypatch.setenv("METARUN_MIRROR", str(tmp_path))
    load()


def test_no_files_and_no_network_is_one_sentence_with_the_remedy(root):
    with pytest.raises(UserError) as raised:
        load_characters(PARTS)
    sentence = str(raised.value)
    assert sentence.startswith("omniglot was not found and could not be downloaded (http://127.0.0.1")
    assert f"put images_background.zip and images_evaluation.zip into {root / 'omniglot'}" in sentence
    assert sentence.endswith("or use data=glyphs, which is built in.")
    assert "\n" not in sentence


def test_a_login_page_instead_of_a_zip_is_not_kept(root, web, monkeypatch):
    web.files = {"/images_background.zip": b"<html>please log in</html>"}
    monkeypatch.setenv("METARUN_MIRROR", web.url)
    with pytest.raises(UserError, match="the response is not a zip archive"):
        load_characters(PARTS)
    assert not list(root.rglob("*.zip"))


def test_a_mirror_that_is_not_a_folder_is_refused(root, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", "/no/such/folder")
    with pytest.raises(UserError, match=r"METARUN_MIRROR=/no/such/folder is neither an http.* nor an existing folder"):
        load_characters(PARTS)


def test_a_damaged_half_keeps_the_other_and_caches_nothing(root):
    write_zips(root)
    whole = (root / "images_evaluation.zip").read_bytes()
    (root / "images_evaluation.zip").write_bytes(whole[:500])
    with pytest.raises(UserError, match=r"images_evaluation.zip is not a valid zip archive"):
        load_characters(PARTS)
    assert (root / "images_background.zip").exists()
    assert not cached(root)
    (root / "images_evaluation.zip").write_bytes(whole)
    load()


def test_a_damaged_cache_is_rebuilt_from_the_originals(root, caplog):
    write_zips(root)
    load()
    content = bytearray(cached(root)[0].read_bytes())
    content[len(content) // 2] ^= 255
    cached(root)[0].write_bytes(content)
    with caplog.at_level(logging.WARNING):
        load()
    assert "rebuilding it" in caplog.text


def test_check_compares_the_cache_with_the_originals(root):
    write_zips(root)
    assert check_characters(PARTS)[1] == "3 + 2 characters, 20 images each, all can be decoded; not cached yet"
    load()
    assert check_characters(PARTS)[1] == "3 + 2 characters, 20 images each, all can be decoded; the cache matches"
    files = make_files("images_background")
    one, other = sorted(files)[:2]
    files[one] = files[other]
    (root / "images_background.zip").write_bytes(zip_bytes(files))
    with pytest.raises(UserError, match=r"characters-28x28.npz differs from .*images_background.zip"):
        check_characters(PARTS)


def test_check_says_if_there_are_no_originals(root):
    with pytest.raises(
        UserError, match="omniglot was not found, or its cache is damaged; run `metarun data get omniglot`"
    ):
        check_characters(PARTS)
    write_zips(root)
    load()
    for path in root.glob("*.zip"):
        path.unlink()
    assert "the cache is valid (no originals" in check_characters(PARTS)[1]


def test_where_names_each_source_without_reading_it(root, monkeypatch):
    assert Omniglot().where() is None
    monkeypatch.setenv("METARUN_MIRROR", "https://example.org/data")
    assert Omniglot().where() == "mirror https://example.org/data"
    write_zips(root)
    assert Omniglot().where() == f"{root / 'images_background.zip'} and {root / 'images_evaluation.zip'}"
    load()
    assert Omniglot().where() == f"cache: {root / 'omniglot' / 'characters-28x28.npz'}"


def test_rotations_are_classes_rotated_counter_clockwise(root):
    write_zips(root)
    characters = load()
    turned = rotate(characters, ["Greek/character01"], 4)
    assert turned.class_names == tuple(f"Greek/character01/rot{angle}" for angle in ("000", "090", "180", "270"))
    upright = characters.of_class("Greek/character01")
    assert np.array_equal(turned.of_class("Greek/character01/rot000"), upright)
    # Counter-clockwise: the right edge becomes the top.
    assert np.array_equal(turned.of_class("Greek/character01/rot090")[:, :, 0], upright[:, :, :, -1])
    assert rotate(characters, ["Greek/character01"], 1).class_names == ("Greek/character01",)


def test_an_alphabet_holds_its_characters_however_they_are_rotated():
    assert alphabet_of("Greek/character01") == alphabet_of("Greek/character24/rot270") == "Greek"


@pytest.mark.parametrize("rotations", [{"train": 4, "val": 2, "test": 4}, {"train": 4, "test": 4}])
def test_rotations_other_than_1_and_4_are_refused(rotations):
    with pytest.raises(
        UserError, match=r"data.rotations.val=.* must be 1 \(upright\) or 4; correct `data.rotations.val`"
    ):
        Omniglot(rotations=rotations)


@pytest.fixture
def real(mirror, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    return mirror


@pytest.mark.slow
def test_the_vinyals_split_equals_the_published_lists(real):
    data = Omniglot().load()
    for split in SPLITS:
        published = (real / "splits" / "omniglot_vinyals" / f"{split}.txt").read_text().split()
        assert set(data.splits[split].class_names) == set(published)
        assert len(data.splits[split].class_names) == len(published)
    assert [len(data.splits[split].class_names) for split in SPLITS] == [4 * 1028, 4 * 172, 4 * 423]
    trainval = (real / "splits" / "omniglot_vinyals" / "trainval.txt").read_text().split()
    assert {*data.splits["train"].class_names, *data.splits["val"].class_names} == set(trainval)


@pytest.mark.slow
def test_the_lake_split_keeps_the_evaluation_alphabets_for_meta_test(real):
    data = Omniglot("lake", {"train": 1, "val": 1, "test": 1}).load()
    alphabets = {split: {name.split("/")[0] for name in data.splits[split].class_names} for split in SPLITS}
    assert [len(data.splits[split].class_names) for split in SPLITS] == [792, 172, 659]
    assert [len(alphabets[split]) for split in SPLITS] == [25, 5, 20]
    assert data.shape == (1, 28, 28)


def test_the_random_split_has_every_alphabet_everywhere():
    names = [f"alphabet{i % 50}/character{i:04}" for i in range(1623)]
    lists = split_random(names)
    assert {split: len(characters) for split, characters in lists.items()} == {"train": 1100, "val": 100, "test": 423}
    assert sorted(name for characters in lists.values() for name in characters) == sorted(names)
    assert {alphabet_of(name) for name in lists["test"]} == {alphabet_of(name) for name in lists["train"]}
    again = split_random(names[::-1])
    assert {split: set(characters) for split, characters in again.items()} == {s: set(c) for s, c in lists.items()}


@pytest.mark.slow
def test_a_split_file_may_list_alphabets(real, tmp_path):
    (tmp_path / "split.json").write_text('{"train": ["Greek"], "val": ["Hebrew"], "test": ["Tibetan"]}')
    data = Omniglot(str(tmp_path / "split.json"), {"train": 4, "val": 1, "test": 1}).load()
    assert [len(data.splits[split].class_names) for split in SPLITS] == [4 * 24, 22, 42]


def test_invert_gives_ink_on_white(monkeypatch, tmp_path):
    drawings = Examples.from_classes({name: np.full((2, 1, 28, 28), i, np.uint8) for i, name in enumerate("abc")})
    monkeypatch.setattr("metarun.data.pictures.omniglot.load_characters", lambda: drawings)
    (tmp_path / "split.json").write_text('{"train": ["a"], "val": ["b"], "test": ["c"]}')
    upright = dict.fromkeys(SPLITS, 1)
    data = Omniglot(str(tmp_path / "split.json"), upright, invert=True).load()
    assert [int(data.splits[split].values.min()) for split in SPLITS] == [255, 254, 253]


def test_characters_not_in_a_split_file_are_counted(monkeypatch, tmp_path):
    drawings = Examples.from_classes({name: np.zeros((2, 1, 28, 28), np.uint8) for name in "abcde"})
    monkeypatch.setattr("metarun.data.pictures.omniglot.load_characters", lambda: drawings)
    (tmp_path / "split.json").write_text('{"train": ["a"], "val": ["b"], "test": ["c"]}')
    data = Omniglot(str(tmp_path / "split.json")).load()
    assert data.skipped.unlisted == ("2 classes not in split.json",)


@pytest.mark.slow
def test_check_of_the_real_archives_matches_the_cache(real):
    Omniglot().load()
    assert Omniglot().check() == (
        "train 4,112 classes of 20 examples, val 688 of 20, test 1,692 of 20; 964 + 659 characters, 20 images each, "
        "all can be decoded; the cache matches"
    )


def test_different_drawings_with_the_same_names_are_refused(root):
    write_zips(root)
    expected = [replace(part, pixels="0" * 64) for part in PARTS]
    with pytest.raises(
        UserError, match=r"has the files of .* but different drawings: .* but 0+ is expected; delete it"
    ):
        load_characters(expected)
    assert not cached(root)


def test_both_halves_of_omniglot_have_a_known_hash():
    assert [len(part.pixels) for part in omniglot_archive.PARTS] == [64, 64]
