import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarun.data import SPLITS
from metarun.data.splits import split_by_file, split_classes
from metarun.errors import UserError

CLASSES = [f"{alphabet}/character{n:02}" for alphabet in ("Greek", "Hebrew", "Greeklike", "Korean") for n in (1, 2, 3)]
SENTENCES = ["LATIN SMALL LETTER A", "LATIN SMALL LETTER A WITH STROKE", "GREEK SMALL LETTER PHI", "DIGIT ONE"]


def split_with(tmp_path, lists, classes=CLASSES):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(lists))
    return split_classes("toy", str(path), classes, {})


def test_groups_and_single_classes_go_into_the_split_of_the_file(tmp_path):
    lists = {"train": ["Greek"], "val": ["Hebrew/character02"], "test": ["Korean", "Greeklike/character01"]}
    split = split_with(tmp_path, lists)
    assert split["train"] == ["Greek/character01", "Greek/character02", "Greek/character03"]
    assert split["val"] == ["Hebrew/character02"]
    assert split["test"][0] == "Greeklike/character01", "the data set's order, whatever the file's"


def test_an_exact_name_is_only_that_class(tmp_path):
    lists = {"train": ["LATIN SMALL LETTER A"], "val": ["GREEK"], "test": ["DIGIT"]}
    assert split_with(tmp_path, lists, SENTENCES)["train"] == ["LATIN SMALL LETTER A"]


def test_the_file_may_be_yaml(tmp_path):
    (tmp_path / "split.yaml").write_text("train: [Greek]\nval: [Hebrew]\ntest:\n  - Korean\n")
    assert len(split_classes("toy", str(tmp_path / "split.yaml"), CLASSES, {})["test"]) == 3


def test_an_overlap_names_the_class_and_both_splits(tmp_path):
    lists = {"train": ["Greek"], "val": ["Hebrew"], "test": ["Korean", "Greek/character02"]}
    with pytest.raises(UserError, match="class 'Greek/character02' is in both 'train' and 'test' of toy"):
        split_with(tmp_path, lists)


def test_an_unknown_name_gets_a_suggestion(tmp_path):
    with pytest.raises(UserError, match=r"'train' lists 'Greak', .* Did you mean 'Greek'\?"):
        split_with(tmp_path, {"train": ["Greak"], "val": ["Hebrew"], "test": ["Korean"]})


def test_a_class_listed_twice_is_refused(tmp_path):
    with pytest.raises(UserError, match="lists class 'Greek/character01' twice"):
        split_with(tmp_path, {"train": ["Greek", "Greek/character01"], "val": ["Hebrew"], "test": ["Korean"]})


@pytest.mark.parametrize("entries", [[], "Greek", [1], None])
def test_what_is_not_a_list_of_names_is_refused(tmp_path, entries):
    with pytest.raises(UserError, match="'val' must be a list of at least one class name"):
        split_with(tmp_path, {"train": ["Greek"], "val": entries, "test": ["Korean"]})


@pytest.mark.parametrize("lists", [[], {"train": ["Greek"]}, {"train": [], "val": [], "test": [], "more": []}])
def test_a_file_with_other_keys_is_refused(tmp_path, lists):
    with pytest.raises(UserError, match="must be a mapping with the keys train, val and test"):
        split_with(tmp_path, lists)


def test_a_file_that_is_not_yaml_is_refused(tmp_path):
    (tmp_path / "split.json").write_text('{"train": [')
    with pytest.raises(UserError, match=r"split.json cannot be read as JSON or YAML"):
        split_classes("toy", str(tmp_path / "split.json"), CLASSES, {})


def test_an_unknown_rule_lists_the_rules_and_a_suggestion():
    rules = {"lake": lambda names: {}, "vinyals": lambda names: {}}
    with pytest.raises(UserError, match=r"'vinyal' of toy is neither lake nor vinyals nor .*Did you mean 'vinyals'\?"):
        split_classes("toy", "vinyal", CLASSES, rules)


@given(places=st.lists(st.sampled_from(SPLITS), min_size=len(CLASSES), max_size=len(CLASSES)), data=st.data())
def test_every_partition_is_returned_in_the_order_of_the_data_set(tmp_path_factory, places, data):
    lists = {split: [c for c, place in zip(CLASSES, places, strict=True) if place == split] for split in SPLITS}
    if not all(lists.values()):
        return
    shuffled = {split: data.draw(st.permutations(lists[split])) for split in SPLITS}
    assert split_with(tmp_path_factory.mktemp("split"), shuffled) == lists


def test_a_missing_file_is_refused_if_there_are_no_rules():
    with pytest.raises(UserError, match=r"split 'none\.json' of toy is not an existing file; correct `data\.split`\."):
        split_classes("toy", "none.json", CLASSES, {})


def test_a_mapping_counts_as_the_list_of_its_keys(tmp_path):
    lists = {"train": {"Greek": 60}, "val": {"Hebrew/character02": 20}, "test": ["Korean"]}
    assert split_with(tmp_path, lists)["val"] == ["Hebrew/character02"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 5_000, "nest"),
        (b"train: &a [x]\nval: *a\ntest: *a", "it has an alias"),
        (b"train: 2024-13-45", "month must be in 1..12"),
        (b"train: \xff", "can't decode"),
    ],
)
def test_a_malicious_file_is_refused(content, reason):
    with pytest.raises(UserError, match=rf"^lists cannot be read as JSON or YAML \(.*{reason}"):
        split_by_file("letters", "lists", content, ["a"])


@pytest.mark.parametrize("word", ["x" * 5_000, "~nobody-is-called-so", "/dev/zero"])
def test_a_path_that_cannot_be_a_file_is_refused(word):
    with pytest.raises(UserError, match="not an existing file"):
        split_classes("letters", word, ["a"], {})


@pytest.mark.timeout(30)
def test_a_list_of_a_hundred_thousand_classes_takes_seconds():
    classes = [f"group{i // 10}/class{i}" for i in range(100_000)]
    lists = {"train": classes[:99_990], "val": classes[99_990:99_995], "test": classes[99_995:]}
    found = split_by_file("letters", "lists", json.dumps(lists).encode(), classes)
    assert found == lists
