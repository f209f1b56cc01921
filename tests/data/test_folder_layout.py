"""Which folder is a class, and what is said of the rest, by paths alone: nothing is decoded."""

import json
from pathlib import Path

import pytest

from metarun.data.folder_layout import arrange
from metarun.errors import UserError

SPLIT_FOLDERS = [
    f"{split}/{split}{c}/{i}.png" for split in ("train", "val", "test") for c in range(2) for i in range(3)
]
CLASS_FOLDERS = [picture.partition("/")[2] for picture in SPLIT_FOLDERS]
LISTS = {split: [f"{split}{c}" for c in range(2)] for split in ("train", "val", "test")}


def lay(names, lists=None, empty=(), folder=""):
    """Arrange files, beside a split.json where there are lists."""
    files = {f"{folder}split.json": json.dumps(lists).encode()} if lists else {}
    every = [*(f"{folder}{name}" for name in names), *files]
    return arrange("birds", Path("birds"), every, lambda name, first=None: files.get(name, b"x"), None, empty)


def moved(names, count, *, of="test0/", to="test0/more/"):
    """Put the first few pictures of a class one folder deeper."""
    chosen = [name for name in names if of in name][:count]
    return [name.replace(of, to) if name in chosen else name for name in names]


@pytest.mark.parametrize("folder", ["", "some/folder/"])
@pytest.mark.parametrize(("names", "lists"), [(SPLIT_FOLDERS, None), (CLASS_FOLDERS, LISTS)])
def test_a_folder_of_both_pictures_and_folders_of_pictures_is_refused(names, lists, folder):
    where = f"{folder}test/test0" if lists is None else f"{folder}test0"
    sentence = (
        rf"^{where} in birds holds 1 picture and folders of pictures too \(1, such as {where}/more with 2\), so it is "
        rf"not clear which of them is the class; move all pictures into {where}, or each into a folder without "
        r"folders\.$"
    )
    with pytest.raises(UserError, match=sentence):
        lay(moved(names, 2), lists, folder=folder)


def test_however_deep_the_other_folder_is():
    with pytest.raises(UserError, match=r"^test/test0 in birds holds 1 picture and .* test/test0/a/b with 2"):
        lay(moved(SPLIT_FOLDERS, 2, to="test0/a/b/"))


def test_a_list_may_choose_the_inner_class():
    names = moved(CLASS_FOLDERS, 2)
    layout = lay(names, {**LISTS, "test": ["test0/more", "test1"]})
    assert list(layout.splits["test"]) == ["test0/more", "test1"]
    assert layout.left_out.by_choice == ("1 class of 1 picture that split.json does not name",)


def test_a_list_that_leaves_out_both_asks_for_neither():
    assert list(lay(moved(CLASS_FOLDERS, 2), {**LISTS, "test": ["test1"]}).splits["test"]) == ["test1"]


@pytest.mark.parametrize("pictures", [["Greek/alpha", "Greek/beta", "Hebrew/alef"], ["a/b/c", "a/b/d", "e/f/g"]])
def test_classes_in_folders_of_folders_are_legal(pictures):
    names = [f"{split}/{split}-{name}/{i}.png" for split in LISTS for name in pictures for i in range(2)]
    layout = lay(names)
    assert list(layout.splits["val"]) == [f"val-{name}" for name in pictures]
    assert layout.left_out.unasked == ()


def test_a_class_that_lies_deeper_than_the_others_is_told():
    layout = lay(moved(SPLIT_FOLDERS, 3))
    assert list(layout.splits["test"]) == ["test0/more", "test1"]
    assert layout.left_out.unasked == ("1 of the classes lies deeper than the other 5, or less deep (test0/more)",)


def test_what_is_no_picture_is_counted_by_suffix():
    others = ["train/train0/7.heic", "test/test0/8.HEIC", "notes.txt", "README.md", "train/Thumbs.db", "labels.csv"]
    (told,) = lay([*SPLIT_FOLDERS, *others]).left_out.unasked
    assert told == "skipped, as no pictures that are read here: 2 .heic, 1 .csv, 1 .txt"


def test_a_folder_of_a_class_without_a_picture_is_named():
    others = ["test/test7/1.heic", "train/train0/about/1.txt", "about/1.txt"]
    layout = lay([*SPLIT_FOLDERS, *others], empty=["val/val8", "val/.git", "elsewhere"])
    assert list(layout.splits["test"]) == ["test0", "test1"]
    assert layout.left_out.unasked[0] == "2 folders have no picture in them and are no classes (test/test7, val/val8)"


def test_many_are_not_all_named():
    layout = lay(CLASS_FOLDERS, LISTS, empty=[f"empty{i}" for i in range(9)])
    assert layout.left_out.unasked == (
        "9 folders have no picture in them and are no classes (empty0, empty1, empty2, empty3, empty4, …)",
    )


def test_pictures_beside_the_folders_of_the_splits_are_told():
    layout = lay([*SPLIT_FOLDERS, "unlabelled/x/1.png", "validation/y/1.png"])
    assert layout.left_out.unasked == (
        "2 pictures beside train, val and test are in no split (unlabelled, validation)",
    )
    layout = lay([*SPLIT_FOLDERS, "unlabelled/x/1.png"], empty=["val/val8"])
    assert layout.left_out.unasked == (
        "1 picture beside train, val and test is in no split (unlabelled)",
        "1 folder has no picture in it and is no class (val/val8)",
    )


def test_a_split_without_a_picture_that_is_read_says_what_is_there():
    names = [name.replace(".png", ".heic") if name.startswith("test") else name for name in SPLIT_FOLDERS]
    with pytest.raises(UserError, match=r"has neither pictures in folders train, val .* \(Skipped, .*: 6 \.heic\.\)$"):
        lay(names)
    names = [name.replace(".png", ".heic") if name.startswith("test0") else name for name in CLASS_FOLDERS]
    with pytest.raises(UserError, match=r"names 'test0', which is no class .* \(Skipped, .*: 3 \.heic\.\)$"):
        lay(names, LISTS)


def test_no_picture_that_is_read_at_all_says_what_is_there():
    with pytest.raises(
        UserError, match=r"^birds holds no pictures \(\.png, .*\) that are read here, only 18 \.avif; put"
    ):
        lay([name.replace(".png", ".avif") for name in SPLIT_FOLDERS])


@pytest.mark.parametrize("folder", ["", "some/folder/"])
@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        (["train.csv", "test.csv"], r"val\.csv is missing beside train\.csv and test\.csv in {}; add it, or"),
        (["val.csv"], r"train\.csv and test\.csv are missing beside val\.csv in {}; add them, or"),
        (["train.csv", "test.csv", "valid.csv"], r"in {} there is 'valid\.csv'; rename it to 'val\.csv'\.$"),
    ],
)
def test_a_missing_table_is_named(tables, sentence, folder):
    where = (Path("birds") / folder).as_posix()
    with pytest.raises(UserError, match=f"^{sentence.format(where)}(?!.*Skipped)"):
        lay(["images/a/1.png", "images/b/1.png", "images/b/1.txt", *tables], folder=folder)


@pytest.mark.parametrize("folder", ["", "some/folder/"])
@pytest.mark.parametrize(
    ("spelt", "sentence"),
    [
        (("train", "valid", "test"), "there is 'valid'; rename it to 'val'"),
        (("train", "Validation", "test"), "there is 'Validation'; rename it to 'val'"),
        (("training", "val", "TEST"), "there are 'training' and 'TEST'; rename them to 'train' and 'test'"),
        (("Train", "Val", "Test"), "there are 'Train', 'Val' and 'Test'; rename them to 'train', 'val' and 'test'"),
    ],
)
def test_folders_of_splits_that_are_written_otherwise_are_named(spelt, sentence, folder):
    names = [f"{dict(zip(LISTS, spelt, strict=True))[name[: name.index('/')]]}/{name}" for name in SPLIT_FOLDERS]
    with pytest.raises(UserError, match=rf"^in {(Path('birds') / folder).as_posix()} {sentence}\.$"):
        lay(names, folder=folder)


def test_a_class_that_is_called_like_a_split_is_no_reason_to_rename():
    with pytest.raises(UserError, match="has neither pictures in folders train, val and test, all three, nor a"):
        lay(["ant/1.png", "validation/1.png", "Test/1.png"])


def test_a_list_may_write_accents_otherwise_than_the_folders():
    names = [name.replace("test0", "e\u0301te\u0301") for name in CLASS_FOLDERS]
    layout = lay(names, {**LISTS, "test": ["\xe9t\xe9", "test1"]})
    assert list(layout.splits["test"]) == ["e\u0301te\u0301", "test1"]


@pytest.mark.timeout(30)
def test_a_hundred_thousand_files_take_seconds():
    names = [f"{split}/{split}{c}/{i}.jpg" for split in LISTS for c in range(300) for i in range(100)]
    lay([*names, *(f"{name}.txt" for name in names[:10_000])])
