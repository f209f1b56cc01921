import dataclasses
import errno
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from metarun.data import SPLITS as ORDER
from metarun.data import ImageFolder
from metarun.data.pictures.image_decoding import decode
from metarun.data.pictures.published_images import PUBLISHED
from metarun.errors import UserError
from tests.support.fake_images import (
    SPLITS,
    class_folders,
    make_files,
    make_picture,
    split_folders,
    tables,
    write_folder,
    write_zip,
)

LAYOUTS = pytest.mark.parametrize("layout", [split_folders, class_folders, tables])


def load(place, **keys):
    return ImageFolder(str(place), size=12, **keys).load()


@pytest.fixture(autouse=True)
def _empty_root(root):
    """Give each test a cache of its own."""


@pytest.fixture
def birds(tmp_path):
    return write_folder(tmp_path / "birds", split_folders())


def write(kind, where, files):
    return write_zip(where / "birds.zip", files) if kind == "zip" else write_folder(where / "birds", files)


@pytest.mark.parametrize("kind", ["zip", "folder"])
@pytest.mark.parametrize("wrapped", ["", "some/folder/"])
@LAYOUTS
def test_every_layout_gives_the_same_data(tmp_path, kind, wrapped, layout):
    place = write(kind, tmp_path, {f"{wrapped}{name}": content for name, content in layout().items()})
    data = load(place)
    assert {which: data.splits[which].class_names for which in ORDER} == SPLITS
    assert data.shape == (3, 12, 12)
    assert data.hash == load(write_folder(tmp_path / "plain", split_folders())).hash
    expected = decode("it", make_files(["elk"])["elk/2.png"], 12, 3)
    assert np.array_equal(data.splits["val"].of_class("elk")[2], expected)


@LAYOUTS
def test_a_split_file_of_the_user_overrides_the_layout(tmp_path, layout):
    (tmp_path / "mine.yaml").write_text("train: [gnu, ant]\nval: [bee]\ntest: [cat]\n")
    data = load(write_folder(tmp_path / "birds", layout()), split=str(tmp_path / "mine.yaml"))
    assert [data.splits[which].class_names for which in ORDER] == [("ant", "gnu"), ("bee",), ("cat",)]


def test_a_split_file_may_count_the_examples_of_each_class(tmp_path):
    counted = {split: dict.fromkeys(classes, 4) for split, classes in SPLITS.items()}
    files = class_folders() | {"split.json": json.dumps(counted).encode()}
    assert load(write_folder(tmp_path / "birds", files)).splits["train"].class_names == SPLITS["train"]


def test_class_sizes_and_picture_formats_may_differ(birds):
    more = {
        "train/ant/a.jpg": make_picture(1, 50, 20, kind="JPEG"),
        "train/ant/b.JPEG": make_picture(2, 9, 9, "L", "JPEG"),
        "train/ant/c.gif": make_picture(3, 30, 30, "P", "GIF"),
        "val/dog/d.png": make_picture(4, mode="RGBA"),
        "test/fox/e.webp": make_picture(5, kind="WEBP"),
    }
    data = load(write_folder(birds, more))
    assert data.splits["train"].sizes.tolist() == [7, 4, 4]
    assert data.splits["val"].sizes.tolist() == [5, 4]
    assert data.splits["test"].sizes.tolist() == [5, 4]


def test_hidden_and_system_files_are_ignored(birds):
    about = {
        "train/.hidden/1.png": b"x",
        "__MACOSX/train/ant/._1.png": b"x",
        "train/ant/Thumbs.db": b"x",
        "notes": b"x",
    }
    before = load(birds).hash
    assert load(write_folder(birds, about)).hash == before


def test_channels_1_is_grey(birds):
    assert load(birds, channels=1).shape == (1, 12, 12)


def test_a_nested_folder_is_a_class_of_its_own(tmp_path):
    files = make_files(["Greek/alpha", "Greek/beta", "Hebrew/alef", "Korean/giyeok"])
    lists = {"train": ["Greek"], "val": ["Hebrew"], "test": ["Korean"]}
    data = load(write_folder(tmp_path / "letters", files | {"split.json": json.dumps(lists).encode()}))
    assert data.splits["train"].class_names == ("Greek/alpha", "Greek/beta")


def test_a_second_load_decodes_nothing(birds, monkeypatch):
    before = load(birds).hash
    monkeypatch.setattr("metarun.data.pictures.image_folder.decode", None)
    assert load(birds).hash == before


def test_a_folder_that_changed_is_read_again(birds):
    before = load(birds).hash
    (birds / "test" / "fox" / "1.png").write_bytes(make_picture(99))
    assert load(birds).hash != before
    (birds / "test" / "fox" / "1.png").unlink()
    assert load(birds).splits["test"].sizes.tolist() == [3, 4]


def test_a_folder_that_changes_while_it_is_read_is_refused_and_not_cached(birds, root, monkeypatch):
    def decode_amid_a_change(where, content, size, channels):
        (birds / "train" / "late.txt").write_text(where)
        return decode(where, content, size, channels)

    monkeypatch.setattr("metarun.data.pictures.image_folder.decode", decode_amid_a_change)
    with pytest.raises(UserError, match="changed while it was read; rerun the same command"):
        load(birds)
    assert not list(root.glob("pictures/*.npz"))


def test_a_missing_root_is_refused():
    with pytest.raises(UserError, match=r"data\.root=/no/such/place does not exist; set `data\.root` to a folder"):
        load("/no/such/place")


def test_a_root_is_required():
    with pytest.raises(UserError, match=r"data=image_folder needs pictures; set `data\.root`"):
        ImageFolder().load()


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"birds contains no supported pictures \(\.png, .*; add some, or correct `data\."
    ):
        load(write_folder(tmp_path / "birds", {"train/ant/1.txt": b"x"}))


def test_a_file_that_is_not_a_zip_is_refused(tmp_path):
    (tmp_path / "birds.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"birds\.zip is not a valid zip archive"):
        load(tmp_path / "birds.zip")


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "C:/evil.png"])
def test_a_path_outside_the_zip_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"birds\.zip contains '.*evil\.png', a path outside the archive"):
        load(write_zip(tmp_path / "birds.zip", split_folders() | {name: b"x"}))


@pytest.mark.parametrize("without", [("split.json", class_folders), ("val", split_folders)])
def test_a_folder_without_splits_is_refused(tmp_path, without):
    gone, layout = without
    files = {name: content for name, content in layout().items() if not name.startswith(gone)}
    with pytest.raises(
        UserError, match=r"neither pictures in all three folders train, val and test, nor a split\.json; list"
    ):
        load(write_folder(tmp_path / "birds", files))


def test_a_class_may_be_called_train(tmp_path):
    lists = {"train": ["train", "ant"], "val": ["bee"], "test": ["cat"]}
    files = make_files(["train", "ant", "bee", "cat"]) | {"split.json": json.dumps(lists).encode()}
    assert load(write_folder(tmp_path / "things", files)).splits["train"].class_names == ("ant", "train")


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"val\.csv in .*birds lists no pictures but every split needs some"):
        load(write_folder(tmp_path / "birds", tables() | {"val.csv": b"filename,label\n"}))


def test_a_missing_split_file_is_refused(birds):
    load(birds)  # a cache of the layout's own split must not be used
    with pytest.raises(UserError, match=r"split 'none\.json' of image_folder is not an existing file; correct `data"):
        load(birds, split="none.json")


def test_a_class_in_two_splits_is_refused(birds):
    write_folder(birds, {"test/ant/1.png": make_picture(1)})
    with pytest.raises(UserError, match="class 'ant' is in both 'train' and 'test' of image_folder"):
        load(birds)


def test_a_damaged_picture_is_named_and_nothing_is_cached(birds, root):
    write_folder(birds, {"train/ant/broken.jpg": b"x"})
    with pytest.raises(UserError, match=r"birds: train/ant/broken\.jpg cannot be decoded \(not a picture\); fix"):
        load(birds)
    assert not list(root.rglob("*.npz"))


def test_a_picture_outside_a_class_is_named(birds):
    write_folder(birds, {"train/stray.png": make_picture(1)})
    with pytest.raises(UserError, match=r"train/stray\.png in .*birds is not in a class folder"):
        load(birds)


def test_an_unreadable_picture_is_named(birds, monkeypatch):
    read = Path.read_bytes

    def forbidden(path):  # not by its mode, because root may read everything
        if path == birds / "train/ant/1.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(UserError, match=r"train/ant/1\.png cannot be read \(Permission denied\)"):
        load(birds)


def test_a_table_that_names_a_missing_picture_is_refused(tmp_path):
    files = tables()
    del files["images/elk1.png"]
    with pytest.raises(UserError, match=r"val\.csv in .*birds names 'elk1\.png', which does not exist; complete"):
        load(write_folder(tmp_path / "birds", files))


def test_a_table_with_other_columns_is_refused(tmp_path):
    files = tables() | {"train.csv": b"name,class\na,b\n"}
    with pytest.raises(UserError, match=r"train\.csv in .*birds needs the columns filename and label"):
        load(write_folder(tmp_path / "birds", files))


@pytest.mark.parametrize("size", [0, 2049, 10**9])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(
        UserError, match=rf"^data\.size={size} but it must be from 1 to 2048 pixels; correct `data\.size`"
    ):
        ImageFolder("birds", size=size)


def test_check_compares_the_cache_with_the_pictures(birds):
    source = ImageFolder(str(birds), size=12)
    counts = "train 3 classes of 4 examples, val 2 of 4, test 2 of 4; all can be decoded"
    assert source.check() == f"{counts}; not cached yet"
    source.load()
    assert source.check() == f"{counts}; the cache matches"


def test_where_is_the_folder_itself(birds):
    assert ImageFolder(str(birds)).where() == str(birds)
    assert ImageFolder().where() == "set by data.root"


# ── published sets ──


@pytest.fixture
def _small_sets(tmp_path, monkeypatch):
    """Make both published sets as small as the fake pictures."""
    lists = tmp_path / "known.json"
    lists.write_text(json.dumps(SPLITS))
    monkeypatch.setitem(PUBLISHED, "caltech101", dataclasses.replace(PUBLISHED["caltech101"], split_file=lists))
    for known in PUBLISHED.values():
        monkeypatch.setitem(known.sizes, "train", (3, 4, 4))  # type: ignore[attr-defined]
        monkeypatch.setitem(known.sizes, "val", (2, 4, 4))  # type: ignore[attr-defined]
        monkeypatch.setitem(known.sizes, "test", (2, 4, 4))  # type: ignore[attr-defined]


def known(name, **keys):
    return ImageFolder(known=name, size=12, **keys)


@pytest.mark.usefixtures("_small_sets")
@pytest.mark.parametrize("place", ["miniimagenet", "mini-imagenet.zip", "miniimagenet/mini-imagenet", "mini_imagenet"])
@pytest.mark.parametrize("layout", [split_folders, tables])
@pytest.mark.parametrize("where", ["root", "mirror"])
def test_mini_imagenet_is_found_in_its_common_layouts(root, tmp_path, monkeypatch, place, layout, where):
    monkeypatch.setenv("METARUN_MIRROR", str(tmp_path / "mirror"))
    folder = root if where == "root" else tmp_path / "mirror"
    (write_zip if place.endswith(".zip") else write_folder)(folder / place, layout())
    assert known("miniimagenet").where().startswith(str(folder))
    data = known("miniimagenet").load()
    assert data.name == "miniimagenet"
    assert {which: data.splits[which].class_names for which in ORDER} == SPLITS


@pytest.mark.usefixtures("_small_sets")
def test_a_cached_published_set_does_not_need_its_original(root):
    archive = write_zip(root / "caltech101" / "caltech101_84x84.zip", class_folders())
    before = known("caltech101").load().hash
    archive.unlink()
    archive.parent.rmdir()
    assert known("caltech101").load().hash == before
    assert known("caltech101").where() == f"cache: {root / 'pictures'}"
    assert known("caltech101").check().endswith("the cache is valid (no originals to compare it with)")


@pytest.mark.usefixtures("_small_sets")
def test_a_cached_published_set_does_not_need_a_complete_original(root):
    place = write_folder(root / "miniimagenet", split_folders())
    before = known("miniimagenet").load().hash
    (place / "test" / "fox" / "1.png").unlink()
    for note in (root / "pictures").glob("*left-out.json"):  # as of a version that stored none
        note.unlink()
    assert known("miniimagenet").load().hash == before


@pytest.mark.usefixtures("_small_sets")
def test_the_official_folder_of_caltech_101_is_read_without_its_faces(root):
    files = class_folders() | make_files(["BACKGROUND_Google", "Faces", "Faces_easy"])
    del files["split.json"]
    write_folder(root / "caltech101" / "101_ObjectCategories", files)
    data = known("caltech101").load()
    assert {which: data.splits[which].class_names for which in ORDER} == SPLITS


@pytest.mark.usefixtures("_small_sets")
def test_a_published_set_is_read_from_a_given_root(tmp_path):
    place = write_folder(tmp_path / "mine", split_folders())
    assert known("miniimagenet", root=str(place)).load().splits["val"].class_names == ("dog", "elk")


@pytest.mark.parametrize("call", ["load", "check"])
def test_a_missing_set_says_where_to_put_it(root, call):
    assert known("miniimagenet").where() is None
    with pytest.raises(UserError) as raised:
        getattr(known("miniimagenet"), call)()
    sentence = str(raised.value)
    assert sentence.startswith("miniimagenet was not found; put your copy (folders train, val and test, or images with")
    assert f"into {root / 'miniimagenet'}, set `data.root` to its path, or use data=glyphs" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("missing", ["a class is missing", "a picture is missing"])
@pytest.mark.usefixtures("_small_sets")
def test_an_incomplete_copy_is_refused_and_not_cached(root, missing):
    files = split_folders()
    gone = "val/elk/" if missing == "a class is missing" else "val/elk/2.png"
    write_folder(root / "miniimagenet", {name: c for name, c in files.items() if not name.startswith(gone)})
    found = r"1 classes of 4 \('dog'\)" if missing == "a class is missing" else r"2 classes of 3 \('elk'\)"
    with pytest.raises(UserError, match=rf"split 'val' of miniimagenet in .* has {found} to 4 .*but 2 of 4 to 4 are"):
        known("miniimagenet").load()
    assert not list(root.rglob("*.npz"))
    write_folder(root / "miniimagenet", files)
    known("miniimagenet").load()


def test_ravis_published_lists_have_the_expected_sizes(mirror):
    import csv
    import gzip

    for which, expected in PUBLISHED["miniimagenet"].sizes.items():
        with gzip.open(mirror / "splits" / "mini_imagenet_ravi" / f"{which}.csv.gz", "rt") as file:
            sizes = Counter(row["label"] for row in csv.DictReader(file))
        assert (len(sizes), min(sizes.values()), max(sizes.values())) == expected


@pytest.mark.slow
def test_caltech_101_is_read_split_and_checked(mirror, root, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    source = ImageFolder(known="caltech101")
    assert source.where() == str(mirror / "caltech101" / "caltech101_84x84.zip")
    assert PUBLISHED["caltech101"].split_file.read_bytes() == (mirror / "caltech101" / "split.json").read_bytes()
    data = source.load()
    lists = json.loads((mirror / "caltech101" / "split.json").read_text())
    for which in ORDER:
        found = dict(zip(data.splits[which].class_names, data.splits[which].sizes.tolist(), strict=True))
        assert found == lists[which]
    assert data.shape == (3, 84, 84)
    assert source.check().endswith("all can be decoded; the cache matches")


@pytest.mark.timeout(20)
def test_a_path_of_thousands_of_folders_is_fast(tmp_path):
    files = {"a/" * 5_000 + name: content for name, content in split_folders().items()}
    assert ImageFolder(str(write_zip(tmp_path / "deep.zip", files)), size=12).load().splits["val"].class_names == (
        "dog",
        "elk",
    )


def test_a_name_that_is_not_utf_8_is_refused(birds):
    (birds / "train" / "ant" / "\udcff.png").write_bytes(make_picture(1))
    with pytest.raises(UserError, match=r"contains 'train/ant/\\udcff\.png', a name that is not UTF-8; rename it"):
        ImageFolder(str(birds), size=12).load()


@pytest.mark.parametrize("name", ["שלום", "日本語", "a b", "\u202egnp", "<b>", "a\nb", "{x}", "%s"])
def test_class_names_may_be_any_text(tmp_path, name):
    files = {file.replace("ant", name): content for file, content in split_folders().items()}
    data = ImageFolder(str(write_folder(tmp_path / "birds", files)), size=12).load()
    assert name in data.splits["train"].class_names


def test_a_table_with_a_byte_order_mark_is_read(tmp_path):
    files = tables()
    files["val.csv"] = b"\xef\xbb\xbf" + files["val.csv"]
    assert ImageFolder(str(write_folder(tmp_path / "birds", files)), size=12).load().splits["val"].class_names == (
        "dog",
        "elk",
    )


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (b"dog0.png", r"line 2 of val\.csv in .* has no filename or no label; fix it"),
        (b",dog", r"line 2 of val\.csv in .* has no filename or no label; fix it"),
        (b'"' + b"x" * 200_000, r"val\.csv in .* cannot be read \(field larger than field limit"),
    ],
    ids=["no label", "no filename", "endless"],
)
def test_a_table_with_a_damaged_row_is_refused(tmp_path, row, sentence):
    files = {**tables(), "val.csv": b"filename,label\n" + row}
    with pytest.raises(UserError, match=sentence):
        ImageFolder(str(write_folder(tmp_path / "birds", files)), size=12).load()


def test_an_empty_picture_is_named(birds):
    (birds / "train" / "ant" / "0.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"train/ant/0\.png cannot be decoded \(not a picture\)"):
        ImageFolder(str(birds), size=12).load()


def test_folders_of_classes_are_groups(tmp_path, birds):
    files = {f"train/Greek/a{c}/0.png": make_picture(c) for c in range(2)}
    files |= {f"{split}/Latin/{split}/0.png": make_picture(9) for split in ("val", "test")}
    folder_of = load(write_folder(tmp_path / "letters", files)).groupings["folder"]
    assert folder_of("Greek/a1") == "Greek"
    assert load(birds).groupings == {}, "no class is in a folder of classes"
