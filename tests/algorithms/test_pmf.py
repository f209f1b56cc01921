"""P > M > F, compared with the authors' loop: torch's Adam on a copy of the network, for one task after the other."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms import PMF, ProtoNet
from metarun.backbones import ResidualMLP
from metarun.errors import UserError
from metarun.tasks.augmentation import augmentations, suitable
from metarun.tasks.batch import Support
from tests.support.synthetic import make_conv4, make_dataset, make_stream, run_by

DROPOUT = augmentations({"dropout": 0.3}, make_dataset().inputs, "synthetic")


def fine_tuned(made, support_x, support_y, query_x, way, steps):
    """Return the logits after each step, as `ProtoNet_Finetune` of github.com/hushell/pmf_cvpr22 computes the last."""
    network = copy.deepcopy(made.backbone)
    optimizer = torch.optim.Adam(network.parameters(), lr=float(made.rate))
    members = F.one_hot(support_y, way).double().T

    def logits(x):
        centres = members @ network(support_x) / members.sum(1, keepdim=True)
        return made.scale.detach() * F.normalize(network(x), dim=1) @ F.normalize(centres, dim=1).T

    for step in range(steps + 1):
        yield logits(query_x).detach()
        optimizer.zero_grad()
        F.cross_entropy(logits(made._changed(support_x, step)), support_y).backward()
        optimizer.step()


@pytest.mark.parametrize(("norm", "changes"), [("running", DROPOUT), ("layer", None)])
def test_fine_tuning_equals_the_authors_loop(norm, changes):
    torch.manual_seed(0)
    made = PMF(make_conv4(norm, filters=4), rates=[0.01], augment=changes).double().eval()
    tasks = make_stream(3, 2, query=2, dtype=torch.float64).draw(0, 2)
    predictions = run_by("loop", made).predict(tasks, 3)
    torch.testing.assert_close(run_by("vectorised", made).predict(tasks, 3), predictions)
    assert (predictions[0] - predictions[3]).abs().max() > 0.01
    for t in range(2):
        of_task = (part[t] for part in (tasks.support_x, tasks.support_y, tasks.query_x))
        torch.testing.assert_close(predictions[:, t], torch.stack([*fine_tuned(made, *of_task, 3, 3)]))


def test_meta_training_and_a_rate_of_0_are_prototypical_networks():
    made = PMF(make_conv4("running"))
    theirs = ProtoNet(made.backbone, "cosine", 10.0)
    tasks = make_stream().draw(0, 3)
    with torch.no_grad():
        torch.testing.assert_close(made.eval().meta_loss(tasks), theirs.eval().meta_loss(tasks))
        assert torch.equal(made.predict(tasks, 2), theirs.predict(tasks, 0).expand(3, -1, -1, -1))


def test_the_rate_with_the_highest_accuracy_is_chosen_and_stored(monkeypatch):
    made = PMF(make_conv4("running"), rates=[0.1, 0.0, 0.01], rate_tasks=3)
    wrong = {0.0: 2, 0.01: 1, 0.1: 1}  # of the queries

    def predict(tasks, steps, every_step):
        logits = F.one_hot(tasks.query_y, 5).float()
        logits[:, : wrong[round(float(made.rate), 2)]] *= -1
        return logits[None]

    monkeypatch.setattr(made, "predict", predict)
    made.choose(make_stream(query=3), 2)
    assert float(made.state_dict()["rate"]) == pytest.approx(0.01)


def test_an_adapter_is_meta_trained_and_fine_tuned():
    made = PMF(ResidualMLP((256,), 4), rates=[0.1], adapt="lora", adapt_rank=2)
    tasks = make_stream().draw(0, 2)
    made.meta_loss(tasks).backward()
    assert made.adapter.b[1].grad.abs().sum() > 0
    *_, weights = made._fine_tune(Support(tasks.support_x[0], tasks.support_y[0], tasks.way), 2, 0.1)
    assert set(weights) == {f"adapter.{part}.{layer}" for part in "ab" for layer in (0, 1)}


def test_auto_augmentation_suits_the_data():
    assert suitable(make_dataset(shape=(3, 8, 8)).inputs, "photo") == "photo"
    assert suitable(make_dataset(shape=(1, 8, 8)).inputs, "photo") == "characters"
    with pytest.raises(UserError, match=r"^algo.augment=fotos is not one of photo"):
        augmentations("fotos", make_dataset().inputs, "synthetic", "algo.augment")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"rates": []}, r"algo.rates=\[\] but it must name rates of at least 0; set `algo.rates="),
        ({"rates": [-1.0]}, r"algo.rates=\[-1.0\] but it must name rates"),
        ({"rate_tasks": 0}, "algo.rate_tasks=0 but it must be at least 1; raise"),
        ({"scale": 0.0}, r"algo.scale=0.0 but it must be above 0"),
        ({"adapt": "head"}, "algo.adapt='head' is not one of all, norm, film, lora"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        PMF(make_conv4(), **arguments)


def test_a_backbone_without_weights_cannot_be_fine_tuned():
    with pytest.raises(UserError, match="no trained weights that fine-tuning could change; set `backbone"):
        PMF(make_conv4().requires_grad_(False))


@pytest.mark.slow
def test_a_prototypical_network_is_fine_tuned_from_the_command_line(metarun):
    small = ["data=glyphs", "backbone.filters=4", "debug=smoke", "test.steps=1"]
    assert metarun("train", "algo=protonet", *small).code == 0
    (run,) = Path("results/debug/runs").glob("protonet-*")
    words = ["results_dir=results/debug", "test.tasks=3", "algo=pmf", "algo.rate_tasks=2"]
    found = metarun("test", f"run={run}", *words)
    assert (found.code, "fine-tuning with learning rate" in found.out + found.err) == (0, True)
