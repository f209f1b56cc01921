"""Texts of files and folders, and what may be wrong with them."""

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from metarun.data import Text
from metarun.data.texts.text_features import Tfidf, Tokens
from metarun.errors import UserError

WORDS = ("cat", "dog", "rain", "snow", "soup", "rice")


def rows(classes: int = 6, each: int = 3) -> list[tuple[str, str]]:
    return [(f"{WORDS[c]} number {i}, please", f"group{c % 2}/{WORDS[c]}") for c in range(classes) for i in range(each)]


def write_csv(path: Path, lines: list[tuple[str, ...]], header: str = "text,label") -> Path:
    path.write_text("\n".join([header, *(",".join(f'"{value}"' for value in line) for line in lines)]) + "\n")
    return path


def refused(*args: object, **settings: object) -> str:
    with pytest.raises(UserError) as error:
        Text(*args, **settings).load()
    return str(error.value)


def test_every_kind_of_file_holds_the_same_texts(root, tmp_path):
    import pandas as pd

    lines = rows()
    files = {"csv": write_csv(tmp_path / "a.csv", lines)}
    table = pd.DataFrame(lines, columns=["text", "label"])
    for suffix, write in (("parquet", table.to_parquet), ("tsv", lambda p: table.to_csv(p, sep="\t", index=False))):
        files[suffix] = tmp_path / f"a.{suffix}"
        write(files[suffix])
    files["jsonl"] = tmp_path / "a.jsonl"
    files["jsonl"].write_text("\n".join(json.dumps({"text": text, "label": label, "more": 1}) for text, label in lines))
    files["gz"] = tmp_path / "b.csv.gz"
    files["gz"].write_bytes(gzip.compress(b"\xef\xbb\xbf" + files["csv"].read_bytes()))  # with a byte order mark
    folder = tmp_path / "folder"
    for number, (text, label) in enumerate(lines):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{number:02}.txt").write_text(text)
    files["folder"] = folder
    files["zip"] = tmp_path / "c.zip"
    with zipfile.ZipFile(files["zip"], "w") as archive:
        for path in sorted(folder.rglob("*.txt")):
            archive.write(path, f"everything/{path.relative_to(folder)}")
    assert len({Text(str(path), size=16).load().hash for path in files.values()}) == 1
    data = Text(str(files["csv"]), size=16).load()
    assert data.splits["train"].class_names == ("group0/cat", "group1/snow")  # by split_seed=0
    assert data.shape == (16,)


def test_tfidf_is_scikit_learns_up_to_the_sketch():
    train, texts = ["the cat sat", "a dog sat on the mat"], ["the dog sat", "cats and dogs"]
    ours = Tfidf.of(train, 4096).vectors(texts)
    sklearns = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), norm=None)
    sklearns.fit(train)
    known = sklearns.transform(texts)  # without n-grams that only `texts` have, whose idf is log(3 / 1) + 1
    every = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), use_idf=False, norm=None).fit(texts)
    counts = every.transform(texts).toarray()
    new = [name not in sklearns.vocabulary_ for name in every.get_feature_names_out()]
    expected = np.sqrt(np.concatenate([known.toarray(), counts[:, new] * (np.log(3) + 1)], 1))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(ours @ ours.T, expected @ expected.T, atol=3 / np.sqrt(4096))


def test_frequencies_are_those_of_meta_train_alone(root, tmp_path):
    lines = rows()
    before = Text(str(write_csv(tmp_path / "a.csv", lines)), size=64).load().splits
    held_out = [*before["val"].class_names, *before["test"].class_names]
    changed = [(f"{text} and more" if label in held_out else text, label) for text, label in lines]
    after = Text(str(write_csv(tmp_path / "b.csv", changed)), size=64).load().splits
    np.testing.assert_array_equal(before["train"].values, after["train"].values)
    assert not np.array_equal(before["test"].values, after["test"].values)


def test_tokens_are_ids_and_a_mask():
    words = Tokens("words", 50, 4)
    hello, comma, world = words.ids("Hello, wörld")
    assert words.ids("hello") == [hello]
    assert len({hello, comma, world} - {0}) == 3
    examples, cut = words.fields(["hello world", "a b c d e"])
    assert examples["mask"].tolist() == [[True, True, False, False], [True] * 4]
    assert examples["ids"][0, 2:].tolist() == [0, 0]
    assert cut == 1
    assert (examples["ids"] < 50).all()
    examples, _ = Tokens("bytes", 50, 3).fields(["é"])
    assert (examples["ids"].tolist(), examples["mask"].tolist()) == ([[1 + 0xC3, 1 + 0xA9, 0]], [[True, True, False]])


def test_a_network_is_told_how_many_ids_there_are(root, tmp_path):
    path = str(write_csv(tmp_path / "a.csv", rows()))
    data = Text(path, features="tokens", vocabulary=99, length=3).load()
    assert (data.inputs["ids"].size, data.inputs["mask"].size) == (99, None)
    assert data.skipped.unlisted == ("what follows the first 3 words of 18 texts (data.length)",)
    assert Text(path, features="tokens", tokens="bytes").load().inputs["ids"].size == 257
    on_disk = Text(path, features="tokens", vocabulary=99, length=3, storage="disk").load()
    assert (on_disk.inputs, on_disk.hash) == (data.inputs, data.hash)


def test_splits_come_from_a_column_from_folders_and_from_a_file(root, tmp_path):
    split_of = dict(zip(WORDS, ("train", "train", "val", "val", "test", "test"), strict=True))
    lines = [(text, label.split("/")[1], split_of[label.split("/")[1]]) for text, label in rows()]
    path = write_csv(tmp_path / "a.csv", lines, "text,label,part")
    data = Text(str(path), split_column="part", size=8).load()
    assert [data.splits[split].class_names for split in data.splits] == [
        ("cat", "dog"),
        ("rain", "snow"),
        ("rice", "soup"),
    ]
    for number, (text, label, split) in enumerate(lines):
        (tmp_path / "all" / split / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / split / label / f"{number:02}.txt").write_text(text)
    assert Text(str(tmp_path / "all"), size=8).load().hash == data.hash
    (tmp_path / "split.json").write_text(json.dumps({"train": ["cat"], "val": ["rain"], "test": ["rice", "soup"]}))
    chosen = Text(str(path), split=str(tmp_path / "split.json"), size=8).load()
    assert chosen.splits["test"].class_names == ("rice", "soup")
    assert chosen.skipped.unlisted == ("2 classes not in split.json",)
    write_csv(tmp_path / "b.csv", [*lines, ("one more cat", "cat", "test")], "text,label,part")
    assert "class 'cat' is in 'train' (line 2 of " in refused(str(tmp_path / "b.csv"), split_column="part")


def test_what_is_skipped_is_counted(root, tmp_path):
    lines = [*rows(), ("  ", "group0/cat"), ("no class", ""), ("null", "group0/cat"), ("alone", "single")]
    data = Text(str(write_csv(tmp_path / "a.csv", lines)), size=8)
    notes = data.load().skipped.warnings
    assert notes[0].startswith("1 text with no characters skipped, the first in line 20 of ")
    assert notes[1].startswith("1 text without a class skipped, the first in line 21 of ")
    assert notes[2] == ("1 class has a single text, too few for a support and a query example (such as 'single')")
    assert sum(map(len, (examples.values for examples in data.load().splits.values()))) == 20
    assert "text with no characters skipped" in data.check()
    assert data.check().endswith("the cache matches")


def test_a_line_break_in_a_text_does_not_shift_the_line_that_is_named(root, tmp_path):
    lines = [("first\nsecond", "a"), ("", "b"), *rows()]
    assert "the first in line 4 of" in Text(str(write_csv(tmp_path / "a.csv", lines))).load().skipped.warnings[0]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"text,label\na,b\n\xe9t\xe9,c\n", "line 3 of {path} is not UTF-8 (byte 0xe9); convert the file"),
        ("a.csv", b"txt,label\na,b\n", "{path} has no column 'text' (data.text); its columns are txt, label. Did you"),
        ("a.csv", b"text,class\na,b\n", "{path} has no column 'label' (data.label); its columns are text, class."),
        ("a.csv", b"text,label,label \na,b,c\n", "{path} has two columns called 'label'; rename one."),
        ("a.csv", b"text,label\na, b,c\n", "line 2 of {path} has 3 values but the first line names 2 columns; put"),
        ("a.csv", b'text,label\n"a,b\n', "line 2 of {path} cannot be read as CSV (unexpected end of data)."),
        ("a.csv", b"text,label\n", "{path} has no text with a class; fill it"),
        ("a.csv", b"text,label\na,b\nc,d\n", "{path} has 2 classes but meta-train, meta-val and meta-test need 2"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "a"}\n', "line 2 of {path} has no key 'label' (data.label)"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n\n[1]\n', "line 3 of {path} is not a JSON object; write"),
        ("a.jsonl", b'{"text": 7, "label": 1}\n', "line 1 of {path} has int 7 instead of a text (data.text)"),
        ("a.jsonl", b"{'text'}\n", "line 1 of {path} cannot be read as JSON (Expecting property name"),
        ("a.jsonl", b'{"text": "\\ud800x", "label": "b"}', r"line 1 of {path} has '\ud800', which is half a character"),
        (
            "a.csv.gz",
            gzip.compress(b"", mtime=0)[:10] + b"\xff" * 9,
            "{path} cannot be read (Error -3 while decompressing",
        ),
        ("a.csv.gz", b"text,label\n", "{path} cannot be read (Not a gzipped file"),
        ("a.parquet", b"PAR1", "{path} cannot be read as a table ("),
        ("a.doc", b"x", "data.root={path} is not a file of texts that metarun reads; convert it to .csv, .tsv"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(root, tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    assert refused(str(path)).startswith(sentence.format(path=path))


def test_columns_without_a_name_are_not_read(root, tmp_path):
    lines = [("", text, label, "") for text, label in rows()]
    named = Text(str(write_csv(tmp_path / "a.csv", rows())), size=8).load()
    assert Text(str(write_csv(tmp_path / "b.csv", lines, ",text,label,")), size=8).load().hash == named.hash


def test_other_mistakes_are_sentences(root, tmp_path):
    assert refused() == "data=text needs texts; set `data.root` to a CSV or JSON Lines file or a folder."
    assert refused(str(tmp_path / "no")).startswith(f"data.root={tmp_path / 'no'} does not exist; set `data.root`")
    assert refused(size=0) == "data.size=0 but it must be at least 1; raise `data.size`."
    (tmp_path / "folder" / "a").mkdir(parents=True)
    (tmp_path / "folder" / "a" / "x.md").write_text("x")
    assert refused(str(tmp_path / "folder")).startswith(f"{tmp_path / 'folder'} has no text files (.txt), only 1 .md")
    (tmp_path / "folder" / "x.txt").write_text("x")
    assert "x.txt in " in refused(str(tmp_path / "folder"))
    assert refused(known="clinc150").startswith("clinc150 was not found; put data_full.json and domains.json of")


def test_scikit_learn_is_asked_for(root, tmp_path, monkeypatch):
    path = str(write_csv(tmp_path / "a.csv", rows()))
    monkeypatch.setitem(__import__("sys").modules, "sklearn.feature_extraction.text", None)
    assert refused(path).startswith("data.features=tfidf needs scikit-learn; pip install 'metarun[text]'")
    assert Text(path, features="tokens").load().inputs["ids"].size == 8192
