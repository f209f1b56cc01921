"""`metarun test run=… algo=…`: the checkpoint of one method tested with another."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from metarun.algorithms import MAML, Baseline, FineTune, ProtoNet, SimpleShot, load_from_other_method
from metarun.errors import UserError
from tests.support.synthetic import make_conv4

SMALL = ["train.iterations=6", "train.validate_every=3", "train.validate_tasks=6", "test.tasks=8", "backbone.filters=8"]


def rows() -> dict[str, dict]:
    """Return the results below results/ by algo."""
    read = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    return {row["algo"]: row for row in read}


@pytest.mark.slow
@pytest.mark.parametrize("head", ["simpleshot", "baseline", "baselinepp", "finetune", "protonet", "nearest_centroid"])
def test_a_maml_checkpoint_is_tested_with_every_method_without_own_weights(metarun, head):
    assert metarun("train", "algo=maml", *SMALL)[::2] == (0, "")
    trained = rows()["maml"]
    words = ["test", f"run={trained['id']}", f"algo={head}", "task.way=7", "test.steps=2"]
    assert metarun(*words)[::2] == (0, "")
    row = rows()[head]
    assert (row["trained_by"], row["trained_algo"], row["order"]) == (trained["id"], "maml", None)
    assert (row["way"], row["test_way"], row["norm"]) == (5, 7, "batch")
    assert row["steps"] == (2 if head in ("baselinepp", "finetune") else 0)
    (path,) = Path("results/runs").glob(f"{head}-glyphs-7w1s-*")
    written = (path / "result.json").stat().st_mtime_ns
    assert metarun("test", "--config-path", str(path), "--config-name", "config")[::2] == (0, "")
    assert (path / "result.json").stat().st_mtime_ns == written, "its config gives the same run"


@pytest.mark.slow
def test_another_setting_of_the_method_gives_another_result(metarun):
    metarun("train", "algo=simpleshot", *SMALL)
    trained = rows()["simpleshot"]
    metarun("test", f"run={trained['id']}", "algo=simpleshot")
    metarun("test", f"run={trained['id']}", "algo=simpleshot", "algo.transform=UN")
    read = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    assert len({row["id"] for row in read}) == 3
    retested = [row["accuracy"] for row in read if row["id"] != trained["id"]]
    assert trained["accuracy"] in retested, "the same method on its own checkpoint gives the same accuracy"


@pytest.mark.slow
def test_a_method_with_own_weights_is_refused_in_one_sentence(metarun):
    metarun("train", "algo=protonet", *SMALL)
    trained = rows()["protonet"]
    for words, sentence in [
        (
            ["algo=maml"],
            "algo=maml has weights of its own (head.weight, head.bias) that a checkpoint",
        ),
        (["algo=simpelshot"], "Did you mean 'simpleshot'"),
        (["algo=simpleshot", "algo.transform=CL3N"], "algo.transform='CL3N' is not one of UN, L2N, CL2N"),
    ]:
        code, _, complaint = metarun("test", f"run={trained['id']}", *words)
        assert (code, complaint.count("\n"), sentence in complaint) == (2, 1, True), complaint
    code, _, complaint = metarun("train", "algo=simpleshot", "data=sinusoid")
    assert (code, "algo=simpleshot classifies the meta-train classes but" in complaint) == (2, True)
    assert len(list(Path("results/runs").glob("*"))) == 1, "nothing is left behind"


def test_a_head_of_the_same_shape_is_loaded():
    torch.manual_seed(0)
    trained, other = MAML(make_conv4(), 5, 0.1, 1), MAML(make_conv4(), 5, 0.5, 3, order=1)
    assert not load_from_other_method(other, trained.state_dict(), "fomaml", "maml")
    assert all(torch.equal(value, trained.state_dict()[key]) for key, value in other.state_dict().items())
    with pytest.raises(UserError, match=r"algo=maml has weights of its own .*head\.weight, head\.bias"):
        load_from_other_method(MAML(make_conv4(), 4, 0.1, 1), trained.state_dict(), "maml", "maml")


def test_a_mean_is_only_loaded_with_its_count():
    trained, same, more = SimpleShot(make_conv4(), 12), SimpleShot(make_conv4(), 12), SimpleShot(make_conv4(), 30)
    trained.mean += 1
    trained.batches += 7
    assert not load_from_other_method(same, trained.state_dict(), "simpleshot", "simpleshot")
    assert same.batches == 7
    assert load_from_other_method(more, trained.state_dict(), "simpleshot", "simpleshot")
    assert more.batches == 0
    assert not more.mean.any()
    assert load_from_other_method(SimpleShot(make_conv4(), 12), ProtoNet(make_conv4()).state_dict(), "a", "b")
    assert load_from_other_method(Baseline(make_conv4(), 12), ProtoNet(make_conv4()).state_dict(), "a", "b")


def test_a_trained_adapter_is_loaded_although_a_classifier_is_missing(caplog):
    trained = MAML(make_conv4(), 5, 0.1, 1, adapt="lora", adapt_rank=2)
    for weight in trained.adapter.parameters():
        nn.init.normal_(weight)
    tuned = FineTune(make_conv4(), 12, adapt="lora", adapt_rank=2)
    assert load_from_other_method(tuned, trained.state_dict(), "finetune", "maml")
    pairs = zip(tuned.adapter.parameters(), trained.adapter.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    fresh, before = FineTune(make_conv4(), 12, adapt="lora", adapt_rank=3), ProtoNet(make_conv4()).state_dict()
    assert load_from_other_method(fresh, before, "finetune", "protonet")
    assert not any(weight.any() for name, weight in fresh.adapter.state_dict().items() if name.startswith("b.")), (
        "as new"
    )
    assert not caplog.text


@pytest.mark.parametrize("make_head", [ProtoNet, lambda backbone: FineTune(backbone, 12, adapt="lora", adapt_rank=3)])
def test_a_trained_adapter_that_does_not_fit_is_named(caplog, make_head):
    trained = MAML(make_conv4(), 5, 0.1, 1, adapt="lora", adapt_rank=2)
    load_from_other_method(make_head(make_conv4()), trained.state_dict(), "head", "maml")
    assert caplog.messages == [
        "the trained adapter is not used: it needs `algo.adapt` and `algo.adapt_rank` as in its training"
    ]
