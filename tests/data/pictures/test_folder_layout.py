"""Which folder is a class, and what is reported about the rest; only paths are used, nothing is decoded."""

import json
from pathlib import Path

import pytest

from metarun.data.pictures.folder_layout import find_layout
from metarun.errors import UserError

SPLIT_FOLDERS = [
    f"{split}/{split}{c}/{i}.png" for split in ("train", "val", "test") for c in range(2) for i in range(3)
]
CLASS_FOLDERS = [picture.partition("/")[2] for picture in SPLIT_FOLDERS]
LISTS = {split: [f"{split}{c}" for c in range(2)] for split in ("train", "val", "test")}


def layout_of(names, lists=None, empty=(), folder=""):
    """Find the layout of files, beside a split.json if there are lists."""
    files = {f"{folder}split.json": json.dumps(lists).encode()} if lists else {}
    every = [*(f"{folder}{name}" for name in names), *files]
    return find_layout("birds", Path("birds"), every, lambda name, first=None: files.get(name, b"x"), None, empty)


def moved(names, count, *, of="test0/", to="test0/more/"):
    """Put the first few pictures of a class one folder deeper."""
    chosen = [name for name in names if of in name][:count]
    return [name.replace(of, to) if name in chosen else name for name in names]


@pytest.mark.parametrize("folder", ["", "some/folder/"])
@pytest.mark.parametrize(("names", "lists"), [(SPLIT_FOLDERS, None), (CLASS_FOLDERS, LISTS)])
def test_a_folder_of_pictures_and_folders_of_pictures_is_refused(names, lists, folder):
    where = f"{folder}test/test0" if lists is None else f"{folder}test0"
    sentence = (
        rf"^{where} in birds contains 1 picture and also 1 folder of pictures \(such as {where}/more with 2\), so it "
        rf"is unclear which of them is the class; move all pictures into {where}, or each into a folder without "
        r"subfolders\.$"
    )
    with pytest.raises(UserError, match=sentence):
        layout_of(moved(names, 2), lists, folder=folder)


def test_the_other_folder_may_be_nested_deeper():
    with pytest.raises(UserError, match=r"^test/test0 in birds contains 1 picture and .* test/test0/a/b with 2"):
        layout_of(moved(SPLIT_FOLDERS, 2, to="test0/a/b/"))


def test_a_split_file_may_list_the_inner_class():
    names = moved(CLASS_FOLDERS, 2)
    layout = layout_of(names, {**LISTS, "test": ["test0/more", "test1"]})
    assert list(layout.splits["test"]) == ["test0/more", "test1"]
    assert layout.skipped.unlisted == ("1 class of 1 picture not in split.json",)


def test_a_split_file_may_list_neither():
    assert list(layout_of(moved(CLASS_FOLDERS, 2), {**LISTS, "test": ["test1"]}).splits["test"]) == ["test1"]


@pytest.mark.parametrize("pictures", [["Greek/alpha", "Greek/beta", "Hebrew/alef"], ["a/b/c", "a/b/d", "e/f/g"]])
def test_nested_classes_are_allowed(pictures):
    names = [f"{split}/{split}-{name}/{i}.png" for split in LISTS for name in pictures for i in range(2)]
    layout = layout_of(names)
    assert list(layout.splits["val"]) == [f"val-{name}" for name in pictures]
    assert layout.skipped.warnings == ()


def test_a_class_nested_deeper_than_the_others_is_reported():
    layout = layout_of(moved(SPLIT_FOLDERS, 3))
    assert list(layout.splits["test"]) == ["test0/more", "test1"]
    assert layout.skipped.warnings == ("1 class is nested at a different depth from the other 5 (test0/more)",)


def test_files_that_are_not_pictures_are_counted_by_suffix():
    others = ["train/train0/7.heic", "test/test0/8.HEIC", "notes.txt", "README.md", "train/Thumbs.db", "labels.csv"]
    (told,) = layout_of([*SPLIT_FOLDERS, *others]).skipped.warnings
    assert told == "skipped unsupported files: 2 .heic, 1 .csv, 1 .txt"


def test_a_class_folder_without_pictures_is_named():
    others = ["test/test7/1.heic", "train/train0/about/1.txt", "about/1.txt"]
    layout = layout_of([*SPLIT_FOLDERS, *others], empty=["val/val8", "val/.git", "elsewhere"])
    assert list(layout.splits["test"]) == ["test0", "test1"]
    assert layout.skipped.warnings[0] == "2 folders contain no pictures and are not classes (test/test7, val/val8)"


def test_only_the_first_folders_are_named():
    layout = layout_of(CLASS_FOLDERS, LISTS, empty=[f"empty{i}" for i in range(9)])
    assert layout.skipped.warnings == (
        "9 folders contain no pictures and are not classes (empty0, empty1, empty2, empty3, empty4, …)",
    )


def test_pictures_outside_the_splits_are_reported():
    layout = layout_of([*SPLIT_FOLDERS, "unlabelled/x/1.png", "validation/y/1.png"])
    assert layout.skipped.warnings == (
        "2 pictures outside train, val and test are in no split (unlabelled, validation)",
    )
    layout = layout_of([*SPLIT_FOLDERS, "unlabelled/x/1.png"], empty=["val/val8"])
    assert layout.skipped.warnings == (
        "1 picture outside train, val and test is in no split (unlabelled)",
        "1 folder contains no pictures and is not a class (val/val8)",
    )


def test_a_split_without_supported_pictures_lists_what_was_skipped():
    names = [name.replace(".png", ".heic") if name.startswith("test") else name for name in SPLIT_FOLDERS]
    with pytest.raises(UserError, match=r"has neither pictures in all three folders .* \(Skipped .*: 6 \.heic\.\)$"):
        layout_of(names)
    names = [name.replace(".png", ".heic") if name.startswith("test0") else name for name in CLASS_FOLDERS]
    with pytest.raises(UserError, match=r"lists 'test0', which is not a class .* \(Skipped .*: 3 \.heic\.\)$"):
        layout_of(names, LISTS)


def test_a_folder_without_supported_pictures_lists_what_it_contains():
    with pytest.raises(
        UserError, match=r"^birds contains no supported pictures \(\.png, .*\), only 18 \.avif; add some"
    ):
        layout_of([name.replace(".png", ".avif") for name in SPLIT_FOLDERS])


@pytest.mark.parametrize("folder", ["", "some/folder/"])
@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        (["train.csv", "test.csv"], r"val\.csv is missing beside train\.csv and test\.csv in {}; add it, or"),
        (["val.csv"], r"train\.csv and test\.csv are missing beside val\.csv in {}; add them, or"),
        (["train.csv", "test.csv", "valid.csv"], r"{} contains 'valid\.csv'; rename it to 'val\.csv'\.$"),
    ],
)
def test_a_missing_table_is_named(tables, sentence, folder):
    where = (Path("birds") / folder).as_posix()
    with pytest.raises(UserError, match=f"^{sentence.format(where)}(?!.*Skipped)"):
        layout_of(["images/a/1.png", "images/b/1.png", "images/b/1.txt", *tables], folder=folder)


@pytest.mark.parametrize("folder", ["", "some/folder/"])
@pytest.mark.parametrize(
    ("spelt", "sentence"),
    [
        (("train", "valid", "test"), "contains 'valid'; rename it to 'val'"),
        (("train", "Validation", "test"), "contains 'Validation'; rename it to 'val'"),
        (("training", "val", "TEST"), "contains 'training' and 'TEST'; rename them to 'train' and 'test'"),
        (("Train", "Val", "Test"), "contains 'Train', 'Val' and 'Test'; rename them to 'train', 'val' and 'test'"),
    ],
)
def test_split_folders_with_another_spelling_are_named(spelt, sentence, folder):
    names = [f"{dict(zip(LISTS, spelt, strict=True))[name[: name.index('/')]]}/{name}" for name in SPLIT_FOLDERS]
    with pytest.raises(UserError, match=rf"^{(Path('birds') / folder).as_posix()} {sentence}\.$"):
        layout_of(names, folder=folder)


def test_a_class_named_like_a_split_need_not_be_renamed():
    with pytest.raises(UserError, match="has neither pictures in all three folders train, val and test, nor a"):
        layout_of(["ant/1.png", "validation/1.png", "Test/1.png"])


def test_a_split_file_may_have_accents_in_another_unicode_form():
    names = [name.replace("test0", "e\u0301te\u0301") for name in CLASS_FOLDERS]
    layout = layout_of(names, {**LISTS, "test": ["\xe9t\xe9", "test1"]})
    assert list(layout.splits["test"]) == ["e\u0301te\u0301", "test1"]


@pytest.mark.timeout(30)
def test_a_hundred_thousand_files_take_seconds():
    names = [f"{split}/{split}{c}/{i}.jpg" for split in LISTS for c in range(300) for i in range(100)]
    layout_of([*names, *(f"{name}.txt" for name in names[:10_000])])
