"""CLINC150, BANKING77 and HWU64: small copies of their layouts, and the real ones."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metarun.data import Text
from metarun.data.texts.published_texts import KNOWN_TEXTS
from metarun.errors import UserError
from tests.support.commands import Output

CLINC = {
    "train": [["what is my balance", "balance"], ["turn on the light", "light"]],
    "val": [["show my balance", "balance"]],
    "test": [["lights on ", "light"]],
    "oos_test": [["who are you", "oos"]],
}


def test_clinc150s_classes_are_domain_and_intent(tmp_path):
    for name, pack in (("data_full.json", bytes), ("clinc150_data_full.json.gz", gzip.compress)):
        (tmp_path / name).write_bytes(pack(json.dumps(CLINC).encode()))
    with pytest.raises(UserError, match=r"domains\.json is missing beside .*data_full\.json; add it"):
        KNOWN_TEXTS["clinc150"].read(tmp_path / "data_full.json")
    (tmp_path / "domains.json").write_text(json.dumps({"home": ["light"], "banking": ["balance"]}))
    expected = {
        "banking/balance": ["what is my balance", "show my balance"],
        "home/light": ["turn on the light", "lights on"],
    }
    for name in ("data_full.json", "clinc150_data_full.json.gz"):
        assert KNOWN_TEXTS["clinc150"].read(tmp_path / name) == (expected, ("1 text out of scope",))
        assert KNOWN_TEXTS["clinc150"].read_out_of_scope(tmp_path / name) == ["who are you"]
    assert KNOWN_TEXTS["clinc150"].split(list(expected)) == {"banking/balance": "train", "home/light": "val"}
    with pytest.raises(UserError, match=r"data_full\.json has 2 classes and 4 texts but clinc150 has 150 and 22,500; "):
        Text(known="clinc150", root=str(tmp_path / "data_full.json")).load()


def test_clinc150_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "domains.json").write_text(json.dumps({"home": ["light"]}))
    for content, sentence in (
        (json.dumps(CLINC), r"is not CLINC150's data_full\.json \(KeyError\('balance'\)\); fetch it again"),
        ("[]", "is not a JSON object; fetch it again"),
        ("{", "cannot be read"),
    ):
        (tmp_path / "data_full.json").write_text(content)
        with pytest.raises(UserError, match=sentence):
            KNOWN_TEXTS["clinc150"].read(tmp_path / "data_full.json")


def test_banking77_and_hwu64_are_read_from_folders(tmp_path):
    (tmp_path / "train.csv").write_text('text,category\n"Where, please?",card_arrival\n')
    with pytest.raises(UserError, match=r"the folder .* has 0 files test\.csv; one is expected"):
        KNOWN_TEXTS["banking77"].read(tmp_path)
    (tmp_path / "test.csv").write_text("text,category\nWhen?,card_arrival\nHow?,age_limit\n")
    classes, _ = KNOWN_TEXTS["banking77"].read(tmp_path)
    assert classes == {"age_limit": ["How?"], "card_arrival": ["Where, please?", "When?"]}
    for part in ("train", "valid", "test"):
        (tmp_path / "HWU64" / part).mkdir(parents=True)
        (tmp_path / "HWU64" / part / "seq.in").write_text(f"lights off {part}\n")
        (tmp_path / "HWU64" / part / "label").write_text("iot_hue_lightoff\n")
    classes, _ = KNOWN_TEXTS["hwu64"].read(tmp_path)
    assert classes == {"iot/hue_lightoff": ["lights off train", "lights off valid", "lights off test"]}
    assert KNOWN_TEXTS["hwu64"].read(tmp_path, ("val",))[0] == {"iot/hue_lightoff": ["lights off valid"]}
    assert KNOWN_TEXTS["banking77"].read(tmp_path, ("val",))[0] == {}
    (tmp_path / "HWU64" / "test" / "label").write_text("")
    with pytest.raises(UserError, match="has 1 texts but 0 labels"):
        KNOWN_TEXTS["hwu64"].read(tmp_path)


def test_sets_say_where_they_are_and_whom_to_cite(root, tmp_path, monkeypatch):
    for name, author in (("clinc150", "Larson"), ("banking77", "Casanueva"), ("hwu64", "Liu")):
        assert Text(known=name).where() is None
        assert author in Text(known=name).licence
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "hwu64.zip").write_bytes(b"no zip")
    monkeypatch.setenv("METARUN_MIRROR", str(tmp_path))
    assert Text(known="hwu64").where() == str(tmp_path / "text" / "hwu64.zip")
    with pytest.raises(UserError, match=r"hwu64\.zip is not a valid zip archive"):
        Text(known="hwu64").load()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes"), [("clinc150", (45, 30, 75)), ("banking77", (32, 20, 25)), ("hwu64", (23, 20, 21))]
)
def test_the_real_sets_are_whole_and_split_by_domain(root, mirror, monkeypatch, name, classes):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    data = Text(known=name, features="tokens", vocabulary=64, length=8).load()
    assert tuple(len(examples.class_names) for examples in data.splits.values()) == classes
    assert sum(len(examples.values) for examples in data.splits.values()) == KNOWN_TEXTS[name].holds[1]
    if name == "clinc150":  # the only one with texts of no class
        again = Text(known=name, features="tokens", vocabulary=64, length=8).load()
        assert data.out_of_scope.shape == (1200,)
        assert np.array_equal(data.out_of_scope, again.out_of_scope)  # from the cache
        assert data.hash == replace(data, out_of_scope=None).hash
    else:
        assert data.out_of_scope is None
    if name != "banking77":
        domains = [{c.partition("/")[0] for c in examples.class_names} for examples in data.splits.values()]
        assert len(set.union(*domains)) == sum(map(len, domains))


@pytest.mark.slow
def test_ridge_regression_on_tfidf_beats_its_floor(metarun: Callable[..., Output], root, mirror, monkeypatch):
    monkeypatch.setenv("METARUN_MIRROR", str(mirror))
    command = ("train", "algo=r2d2", "data=clinc150", "task=5way5shot", "train.iterations=10", "test.tasks=200")
    out = metarun(*command, "train.validate_every=10", "train.validate_tasks=20")
    assert out.code == 0, out.err
    record = json.loads(next(Path("results/runs").glob("r2d2-*/result.json")).read_text())
    assert 0.90 < record["floor_accuracy"] < 0.94  # 92.7 % by scikit-learn, without hashing
    assert record["accuracy"] > record["floor_accuracy"] + 0.01


@pytest.mark.slow
def test_a_whole_run_on_tokens_of_a_users_file(metarun: Callable[..., Output], tmp_path):
    rng = np.random.default_rng(0)
    lines = [json.dumps({"text": f"word{c} {rng.integers(9)}", "label": c}) for c in range(9) for _ in range(6)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    command = ("train", "algo=protonet", "data=text", "data.root=texts.jsonl", "data.features=tokens", "task.way=2")
    few = ("task.query=2", "train.iterations=2", "train.validate_tasks=2", "test.tasks=4", "train.meta_batch=2")
    for backbone in ("bag", "transformer"):
        out = metarun(*command, *few, f"backbone={backbone}")
        assert out.code == 0, out.err
    assert "backbone=residual_mlp takes one array of numbers" in metarun(*command, *few).err
