"""Which picture a row of train.csv means; only paths are used, nothing is decoded."""

import unicodedata
from pathlib import Path

import pytest

from metarun.data.pictures.folder_layout import find_layout
from metarun.errors import UserError

PICTURES = [f"images/{label}/{i}.png" for label in ("ant", "bee", "cat") for i in range(2)]
TABLES = {
    split: [f"{label}/{i}.png,{label}" for i in range(2)]
    for split, label in zip(("train", "val", "test"), ("ant", "bee", "cat"), strict=True)
}


def layout_of(pictures=PICTURES, head="filename,label", end="\n", folder="", **rows):
    """Find the layout of pictures beside tables, those of TABLES unless others are given."""
    tables = {f"{folder}{split}.csv": end.join([head, *lines]).encode() for split, lines in {**TABLES, **rows}.items()}
    names = [*(f"{folder}{picture}" for picture in pictures), *tables]
    return find_layout("birds", Path("birds"), names, lambda name, first=None: tables.get(name, b"x"), None)


def test_a_file_name_is_the_last_part_of_a_path():
    layout = layout_of()
    assert layout.splits == {
        "train": {"ant": ["images/ant/0.png", "images/ant/1.png"]},
        "val": {"bee": ["images/bee/0.png", "images/bee/1.png"]},
        "test": {"cat": ["images/cat/0.png", "images/cat/1.png"]},
    }
    assert layout.skipped.unlisted == layout.skipped.warnings == ()


@pytest.mark.parametrize("write", ["./{}", "images/{}", "./images/{}", "images//{}", "x/../{}"])
@pytest.mark.parametrize("folder", ["", "a/b/"])
def test_paths_are_normalised(write, folder):
    lines = {split: [write.format(line) for line in lines] for split, lines in TABLES.items()}
    assert layout_of(folder=folder, **lines).splits["train"] == {
        "ant": [f"{folder}images/ant/{i}.png" for i in range(2)]
    }
    lines = {split: [line.replace("/", "\\") for line in each] for split, each in lines.items() if write != "x/../{}"}
    assert layout_of(folder=folder, **lines).splits == layout_of(folder=folder).splits


def test_the_folder_need_not_be_called_images():
    pictures = [picture.replace("images", "photos") for picture in PICTURES]
    lines = {split: [f"images/{line}" for line in lines] for split, lines in TABLES.items()}
    assert layout_of(pictures, **lines).splits["train"] == {"ant": ["photos/ant/0.png", "photos/ant/1.png"]}


def test_only_whole_folder_names_match():
    with pytest.raises(UserError, match=r"line 2 of train\.csv in birds names 'ant/0\.png', which does not exist"):
        layout_of([picture.replace("ant/", "giant/") for picture in PICTURES])


def test_of_equal_file_names_the_one_in_the_folder_of_the_label_is_taken():
    bare = {split: [line.partition("/")[2] for line in lines] for split, lines in TABLES.items()}
    assert layout_of(**bare).splits == layout_of().splits
    deeper = [picture.replace("ant/", "ant/summer/") for picture in PICTURES]
    assert layout_of(deeper, **bare).splits["train"] == {"ant": ["images/ant/summer/0.png", "images/ant/summer/1.png"]}


def test_a_label_may_be_a_nested_folder():
    pictures = [f"images/{group}/{name}/0.png" for group in ("Greek", "Latin") for name in ("alpha", "beta")]
    found = layout_of(pictures, train=["0.png,Greek/alpha"], val=["0.png,Latin/alpha"], test=["0.png,Latin/beta"])
    assert found.splits["val"] == {"Latin/alpha": ["images/Latin/alpha/0.png"]}


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        (
            ["images/a/9.png", "images/b/9.png"],
            r"matches images/a/9\.png and images/b/9\.png, none in a folder named 'ant'",
        ),
        (
            [f"images/{split}/ant/9.png" for split in ("x", "y", "z")],
            r"matches images/x/ant/9\.png and images/y/ant/9\.png and 1 more, all in a folder named 'ant'",
        ),
    ],
)
def test_an_ambiguous_file_name_lists_the_matches(pictures, sentence):
    with pytest.raises(UserError, match=rf"^line 2 of train\.csv in birds names '9\.png', which {sentence}; write the"):
        layout_of([*PICTURES[2:], *pictures], train=["9.png,ant"])


def test_the_exact_path_wins():
    pictures = [*PICTURES, "ant/0.png", "ant/1.png", "images/0.png"]
    assert layout_of(pictures).splits["train"] == {"ant": ["ant/0.png", "ant/1.png"]}
    assert layout_of(pictures, train=["./ant/0.png,ant"]).splits["train"] == {"ant": ["ant/0.png"]}
    assert layout_of(pictures, train=["0.png,emu"]).splits["train"] == {"emu": ["images/0.png"]}


def test_the_picture_of_another_class_does_not_replace_a_missing_one():
    pictures = [picture for picture in PICTURES if picture != "images/ant/1.png"] + ["images/bee/9.png"]
    with pytest.raises(UserError, match=r"line 3 of train.csv .* '9\.png' to class 'ant' but the only such file is in"):
        layout_of(pictures, train=["ant/0.png,ant", "9.png,ant"])
    relabelled = layout_of(pictures, train=["ant/0.png,ant", "bee/9.png,ant"])
    assert relabelled.splits["train"]["ant"] == ["images/ant/0.png", "images/bee/9.png"], "the path says so"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_may_have_either_unicode_form(form):
    pictures = [unicodedata.normalize(form, picture.replace("ant", "été")) for picture in PICTURES]
    for other in ("NFC", "NFD"):
        rows = [unicodedata.normalize(other, line) for line in ("été/0.png,été", "été/1.png,été")]
        bare = [unicodedata.normalize(other, line) for line in ("0.png,été", "1.png,été")]
        assert len(next(iter(layout_of(pictures, train=rows).splits["train"].values()))) == 2
        assert len(next(iter(layout_of(pictures, train=bare).splits["train"].values()))) == 2


def test_other_columns_empty_lines_and_windows_line_ends_are_accepted():
    lines = {
        split: [line for each in lines for line in ("", f"7,{','.join(reversed(each.split(',')))}")]
        for split, lines in TABLES.items()
    }
    assert layout_of(head="\ufeffnumber,label,filename", end="\r\n", **lines).splits == layout_of().splits


def test_a_duplicate_row_is_ignored_and_reported():
    layout = layout_of(train=[*TABLES["train"], TABLES["train"][0], "images/ant/0.png,ant"])
    assert layout.splits == layout_of().splits
    assert layout.skipped.warnings == ("ignored 2 duplicate rows of train.csv",)
    layout = layout_of(train=[*TABLES["train"], TABLES["train"][0]])
    assert layout.skipped.warnings == ("ignored 1 duplicate row of train.csv",)


def test_a_picture_in_two_classes_is_refused():
    with pytest.raises(
        UserError, match=r"line 4 of train\.csv in birds assigns images/ant/0\.png to class 'emu' but line"
    ):
        layout_of(train=[*TABLES["train"], "ant/0.png,emu"])


def test_a_picture_in_two_splits_is_refused():
    with pytest.raises(
        UserError, match=r"line 4 of test\.csv in birds and line 2 of train\.csv in birds both list images/ant/0\.png"
    ):
        layout_of(test=[*TABLES["test"], "ant/0.png,ant"])


def test_pictures_not_in_the_tables_are_counted():
    assert layout_of([*PICTURES, "images/emu/0.png"]).skipped.unlisted == ("1 picture not in the tables",)


def test_a_file_that_is_not_a_picture_is_refused_as_such():
    with pytest.raises(UserError, match=r"names 'ant/0\.heic', which is not a supported picture \(\.png, "):
        layout_of([*PICTURES, "images/ant/0.heic"], train=["ant/0.heic,ant"])


def test_wrong_columns_are_listed():
    with pytest.raises(
        UserError, match=r"needs the columns filename and label but has 'file', 'class'; fix or remove it"
    ):
        layout_of(head="file,class")


@pytest.mark.parametrize(
    ("head", "remedy"),
    [
        ("Filename,Label", "write them in lower case"),
        ("filename;label", "write them separated by a comma"),
        ("filename\tlabel", "write them separated by a comma"),
        ("filename, label", "write them without spaces"),
        ("Filename; label", "write them in lower case and without spaces and separated by a comma"),
        ("Filename,class", "fix or remove it"),
    ],
)
def test_misspelt_columns_get_a_remedy(head, remedy):
    with pytest.raises(UserError, match=rf"^train\.csv in birds needs the columns .*; {remedy}\.$"):
        layout_of(head=head)


@pytest.fixture
def birds(tmp_path):
    """The pictures as files, because absolute paths are resolved in the file system."""
    for picture in PICTURES:
        path = tmp_path / "birds" / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "birds"


def at(birds, *rows, pictures=PICTURES):
    """Find the layout of a folder with other rows of train.csv; return its meta-train pictures."""
    tables = {
        f"{split}.csv": "\n".join(["filename,label", *lines]) for split, lines in {**TABLES, "train": rows}.items()
    }
    read = {name: table.encode() for name, table in tables.items()}
    return find_layout(
        "birds", birds, [*pictures, *tables], lambda name, first=None: read.get(name, b"x"), None
    ).splits["train"]


def test_an_absolute_path_below_the_root_is_found(birds):
    assert at(birds, f"{birds}/images/ant/0.png,ant") == {"ant": ["images/ant/0.png"]}
    assert at(birds, f"{birds}/images/./bee/../ant/0.png,ant") == {"ant": ["images/ant/0.png"]}
    with pytest.raises(UserError, match=r"names '.*/images/ant/7\.png', which does not exist; complete your copy"):
        at(birds, f"{birds}/images/ant/7.png,ant")
    with pytest.raises(UserError, match=r"which is not a supported picture \(.*\); convert it"):
        at(birds, f"{birds}/images/ant/7.heic,ant", pictures=[*PICTURES, "images/ant/7.heic"])


def test_an_absolute_path_is_resolved_through_links(birds, tmp_path):
    (tmp_path / "link").symlink_to(birds)
    (tmp_path / "ants").symlink_to(birds / "images" / "ant")
    for where in ("link/images/ant", "ants"):
        assert at(birds, f"{tmp_path}/{where}/0.png,ant") == {"ant": ["images/ant/0.png"]}
    (tmp_path / "emus").mkdir()
    (birds / "images" / "emu").symlink_to(tmp_path / "emus")
    pictures = [*PICTURES, "images/emu/0.png"]
    assert at(birds, f"{birds}/images/emu/0.png,emu", pictures=pictures) == {"emu": ["images/emu/0.png"]}


def test_an_absolute_path_outside_the_root_is_refused(birds, tmp_path):
    for where in (f"{tmp_path}/images/ant", "/home/nobody/images/ant", f"{birds}2/images/ant", f"/{'a/' * 9_000}"):
        with pytest.raises(
            UserError, match=r"^line 2 of train\.csv in .* names '/.*', which is outside .*/birds; move"
        ):
            at(birds, f"{where}/0.png,ant")


def test_of_a_windows_path_the_longest_matching_suffix_counts():
    drive = [f"C:\\data\\birds\\images\\ant\\{i}.png,ant" for i in range(2)]
    assert layout_of(train=drive).splits == layout_of().splits
    assert layout_of(folder="a/", train=drive).splits["train"] == {"ant": ["a/images/ant/0.png", "a/images/ant/1.png"]}
    photos = [picture.replace("images", "photos") for picture in PICTURES]
    assert layout_of(photos, train=drive).splits["train"] == {"ant": ["photos/ant/0.png", "photos/ant/1.png"]}
    with pytest.raises(UserError, match=r"names 'D:/x/ant/7\.png', which does not exist; complete your copy"):
        layout_of(train=["D:/x/ant/7.png,ant"])
    assert layout_of(train=[f"D:/{'x/' * 50_000}ant/1.png,ant"]).splits["train"] == {"ant": ["images/ant/1.png"]}


def test_folders_within_classes_are_allowed_with_tables():
    pictures = [*PICTURES, "images/ant/more/7.png"]
    layout = layout_of(pictures, train=[*TABLES["train"], "7.png,ant"])
    assert layout.splits["train"]["ant"][-1] == "images/ant/more/7.png"
    assert layout.skipped.warnings == ()


@pytest.mark.timeout(30)
def test_many_equal_file_names_are_fast():
    labels = [f"class{i}" for i in range(4_000)]
    pictures = [f"images/{label}/0.png" for label in labels]
    lines = [f"0.png,{label}" for label in labels]
    assert len(layout_of(pictures, train=lines[2:], val=lines[:1], test=lines[1:2]).splits["train"]) == 3_998
