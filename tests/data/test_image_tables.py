"""Which picture a row of train.csv means, by paths alone: nothing is decoded."""

import unicodedata
from pathlib import Path

import pytest

from metarun.data.folder_layout import arrange
from metarun.errors import UserError

PICTURES = [f"images/{label}/{i}.png" for label in ("ant", "bee", "cat") for i in range(2)]
TABLES = {
    split: [f"{label}/{i}.png,{label}" for i in range(2)]
    for split, label in zip(("train", "val", "test"), ("ant", "bee", "cat"), strict=True)
}


def place(pictures=PICTURES, head="filename,label", end="\n", folder="", **rows):
    """Arrange pictures beside tables, those of TABLES unless others are given."""
    tables = {f"{folder}{split}.csv": end.join([head, *lines]).encode() for split, lines in {**TABLES, **rows}.items()}
    names = [*(f"{folder}{picture}" for picture in pictures), *tables]
    return arrange("birds", Path("birds"), names, lambda name, first=None: tables.get(name, b"x"), None)


def test_a_file_name_is_the_end_of_a_path():
    layout = place()
    assert layout.splits == {
        "train": {"ant": ["images/ant/0.png", "images/ant/1.png"]},
        "val": {"bee": ["images/bee/0.png", "images/bee/1.png"]},
        "test": {"cat": ["images/cat/0.png", "images/cat/1.png"]},
    }
    assert layout.left_out.by_choice == layout.left_out.unasked == ()


@pytest.mark.parametrize("write", ["./{}", "images/{}", "./images/{}", "images//{}", "x/../{}"])
@pytest.mark.parametrize("folder", ["", "a/b/"])
def test_paths_are_understood_however_they_are_written(write, folder):
    lines = {split: [write.format(line) for line in lines] for split, lines in TABLES.items()}
    assert place(folder=folder, **lines).splits["train"] == {"ant": [f"{folder}images/ant/{i}.png" for i in range(2)]}
    lines = {split: [line.replace("/", "\\") for line in each] for split, each in lines.items() if write != "x/../{}"}
    assert place(folder=folder, **lines).splits == place(folder=folder).splits


def test_a_folder_of_another_name_than_images_serves_too():
    pictures = [picture.replace("images", "photos") for picture in PICTURES]
    lines = {split: [f"images/{line}" for line in lines] for split, lines in TABLES.items()}
    assert place(pictures, **lines).splits["train"] == {"ant": ["photos/ant/0.png", "photos/ant/1.png"]}


def test_whole_folders_match_not_ends_of_their_names():
    with pytest.raises(UserError, match=r"line 2 of train\.csv in birds names 'ant/0\.png', which is not there"):
        place([picture.replace("ant/", "giant/") for picture in PICTURES])


def test_of_equal_file_names_the_one_in_the_folder_of_the_label_is_meant():
    bare = {split: [line.partition("/")[2] for line in lines] for split, lines in TABLES.items()}
    assert place(**bare).splits == place().splits
    deeper = [picture.replace("ant/", "ant/summer/") for picture in PICTURES]
    assert place(deeper, **bare).splits["train"] == {"ant": ["images/ant/summer/0.png", "images/ant/summer/1.png"]}


def test_a_label_may_be_several_folders():
    pictures = [f"images/{group}/{name}/0.png" for group in ("Greek", "Latin") for name in ("alpha", "beta")]
    found = place(pictures, train=["0.png,Greek/alpha"], val=["0.png,Latin/alpha"], test=["0.png,Latin/beta"])
    assert found.splits["val"] == {"Latin/alpha": ["images/Latin/alpha/0.png"]}


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        (
            ["images/a/9.png", "images/b/9.png"],
            r"may be images/a/9\.png or images/b/9\.png, none in a folder named 'ant'",
        ),
        (
            [f"images/{split}/ant/9.png" for split in ("x", "y", "z")],
            r"may be images/x/ant/9\.png or images/y/ant/9\.png or one of 1 more, all in a folder named 'ant'",
        ),
    ],
)
def test_where_the_label_does_not_decide_both_files_are_named(pictures, sentence):
    with pytest.raises(UserError, match=rf"^line 2 of train\.csv in birds names '9\.png', which {sentence}; write the"):
        place([*PICTURES[2:], *pictures], train=["9.png,ant"])


def test_the_exact_path_wins():
    pictures = [*PICTURES, "ant/0.png", "ant/1.png", "images/0.png"]
    assert place(pictures).splits["train"] == {"ant": ["ant/0.png", "ant/1.png"]}
    assert place(pictures, train=["./ant/0.png,ant"]).splits["train"] == {"ant": ["ant/0.png"]}
    assert place(pictures, train=["0.png,emu"]).splits["train"] == {"emu": ["images/0.png"]}


def test_the_picture_of_another_class_does_not_stand_in_for_one_that_is_missing():
    pictures = [picture for picture in PICTURES if picture != "images/ant/1.png"] + ["images/bee/9.png"]
    with pytest.raises(UserError, match=r"line 3 of train.csv .* '9\.png' to class 'ant' but the only one lies in"):
        place(pictures, train=["ant/0.png,ant", "9.png,ant"])
    relabelled = place(pictures, train=["ant/0.png,ant", "bee/9.png,ant"])
    assert relabelled.splits["train"]["ant"] == ["images/ant/0.png", "images/bee/9.png"], "the path says so"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_may_be_written_either_way(form):
    pictures = [unicodedata.normalize(form, picture.replace("ant", "été")) for picture in PICTURES]
    for other in ("NFC", "NFD"):
        rows = [unicodedata.normalize(other, line) for line in ("été/0.png,été", "été/1.png,été")]
        bare = [unicodedata.normalize(other, line) for line in ("0.png,été", "1.png,été")]
        assert len(next(iter(place(pictures, train=rows).splits["train"].values()))) == 2
        assert len(next(iter(place(pictures, train=bare).splits["train"].values()))) == 2


def test_other_columns_empty_lines_and_windows_line_ends_do_no_harm():
    lines = {
        split: [line for each in lines for line in ("", f"7,{','.join(reversed(each.split(',')))}")]
        for split, lines in TABLES.items()
    }
    assert place(head="\ufeffnumber,label,filename", end="\r\n", **lines).splits == place().splits


def test_a_row_that_stands_twice_counts_once_and_is_told():
    layout = place(train=[*TABLES["train"], TABLES["train"][0], "images/ant/0.png,ant"])
    assert layout.splits == place().splits
    assert layout.left_out.unasked == ("2 rows of train.csv name a picture of theirs once more and count once",)
    layout = place(train=[*TABLES["train"], TABLES["train"][0]])
    assert layout.left_out.unasked == ("1 row of train.csv names a picture once more and counts once",)


def test_a_picture_of_two_classes_is_told():
    with pytest.raises(
        UserError, match=r"line 4 of train\.csv in birds gives images/ant/0\.png to class 'emu' but line"
    ):
        place(train=[*TABLES["train"], "ant/0.png,emu"])


def test_a_picture_of_two_splits_is_told():
    with pytest.raises(
        UserError, match=r"line 4 of test\.csv in birds names images/ant/0\.png, as line 2 of train\.csv"
    ):
        place(test=[*TABLES["test"], "ant/0.png,ant"])


def test_a_picture_that_no_table_names_is_counted():
    assert place([*PICTURES, "images/emu/0.png"]).left_out.by_choice == ("1 picture that the tables do not name",)


def test_a_file_that_is_there_and_no_picture_is_told_apart():
    with pytest.raises(UserError, match=r"names 'ant/0\.heic', which is no picture that is read here \(\.png, "):
        place([*PICTURES, "images/ant/0.heic"], train=["ant/0.heic,ant"])


def test_the_columns_that_are_there_are_named():
    with pytest.raises(UserError, match=r"has not the columns filename and label but 'file', 'class'; mend it"):
        place(head="file,class")


@pytest.mark.parametrize(
    ("head", "remedy"),
    [
        ("Filename,Label", "write them in lower case"),
        ("filename;label", "write them with a comma between"),
        ("filename\tlabel", "write them with a comma between"),
        ("filename, label", "write them without spaces"),
        ("Filename; label", "write them in lower case and without spaces and with a comma between"),
        ("Filename,class", "mend it or take it away"),
    ],
)
def test_columns_that_are_only_written_otherwise_are_told_apart(head, remedy):
    with pytest.raises(UserError, match=rf"^train\.csv in birds has not the columns .*; {remedy}\.$"):
        place(head=head)


@pytest.fixture
def birds(tmp_path):
    """The pictures as files, as absolute paths are followed in the file system."""
    for picture in PICTURES:
        path = tmp_path / "birds" / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "birds"


def at(birds, *rows, pictures=PICTURES):
    """Arrange the pictures of a folder with other rows of train.csv; return those of training."""
    tables = {
        f"{split}.csv": "\n".join(["filename,label", *lines]) for split, lines in {**TABLES, "train": rows}.items()
    }
    read = {name: table.encode() for name, table in tables.items()}
    return arrange("birds", birds, [*pictures, *tables], lambda name, first=None: read.get(name, b"x"), None).splits[
        "train"
    ]


def test_an_absolute_path_below_the_root_is_read_there(birds):
    assert at(birds, f"{birds}/images/ant/0.png,ant") == {"ant": ["images/ant/0.png"]}
    assert at(birds, f"{birds}/images/./bee/../ant/0.png,ant") == {"ant": ["images/ant/0.png"]}
    with pytest.raises(UserError, match=r"names '.*/images/ant/7\.png', which is not there; complete your copy"):
        at(birds, f"{birds}/images/ant/7.png,ant")
    with pytest.raises(UserError, match=r"which is no picture that is read here \(.*\); convert it"):
        at(birds, f"{birds}/images/ant/7.heic,ant", pictures=[*PICTURES, "images/ant/7.heic"])


def test_an_absolute_path_is_followed_through_links_to_the_root_and_in_it(birds, tmp_path):
    (tmp_path / "link").symlink_to(birds)
    (tmp_path / "ants").symlink_to(birds / "images" / "ant")
    for where in ("link/images/ant", "ants"):
        assert at(birds, f"{tmp_path}/{where}/0.png,ant") == {"ant": ["images/ant/0.png"]}
    (tmp_path / "emus").mkdir()
    (birds / "images" / "emu").symlink_to(tmp_path / "emus")
    pictures = [*PICTURES, "images/emu/0.png"]
    assert at(birds, f"{birds}/images/emu/0.png,emu", pictures=pictures) == {"emu": ["images/emu/0.png"]}


def test_an_absolute_path_outside_the_root_is_refused_whatever_its_end(birds, tmp_path):
    for where in (f"{tmp_path}/images/ant", "/home/nobody/images/ant", f"{birds}2/images/ant", f"/{'a/' * 9_000}"):
        with pytest.raises(
            UserError, match=r"^line 2 of train\.csv in .* names '/.*', which lies outside .*/birds; put"
        ):
            at(birds, f"{where}/0.png,ant")


def test_of_a_path_with_a_drive_the_longest_end_that_is_there_counts():
    drive = [f"C:\\data\\birds\\images\\ant\\{i}.png,ant" for i in range(2)]
    assert place(train=drive).splits == place().splits
    assert place(folder="a/", train=drive).splits["train"] == {"ant": ["a/images/ant/0.png", "a/images/ant/1.png"]}
    photos = [picture.replace("images", "photos") for picture in PICTURES]
    assert place(photos, train=drive).splits["train"] == {"ant": ["photos/ant/0.png", "photos/ant/1.png"]}
    with pytest.raises(UserError, match=r"names 'D:/x/ant/7\.png', which is not there; complete your copy"):
        place(train=["D:/x/ant/7.png,ant"])
    assert place(train=[f"D:/{'x/' * 50_000}ant/1.png,ant"]).splits["train"] == {"ant": ["images/ant/1.png"]}


def test_folders_within_classes_are_legal_where_tables_decide():
    pictures = [*PICTURES, "images/ant/more/7.png"]
    layout = place(pictures, train=[*TABLES["train"], "7.png,ant"])
    assert layout.splits["train"]["ant"][-1] == "images/ant/more/7.png"
    assert layout.left_out.unasked == ()


@pytest.mark.timeout(30)
def test_many_equal_file_names_take_no_time():
    labels = [f"class{i}" for i in range(4_000)]
    pictures = [f"images/{label}/0.png" for label in labels]
    lines = [f"0.png,{label}" for label in labels]
    assert len(place(pictures, train=lines[2:], val=lines[:1], test=lines[1:2]).splits["train"]) == 3_998
