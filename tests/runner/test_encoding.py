"""Runs on the vectors of a pre-trained encoder."""

import numpy as np
import pytest
import torch

import metarun
from metarun.api.config import compose_config
from metarun.backbones.encoders import check_readable, encode
from metarun.data.display import Display
from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from metarun.runner.data_loading import load_data
from metarun.runner.encoding import check_features
from tests.support.tiny_encoder import TinyPictures, write_option

TRUST = ["tests.support.tiny_encoder.TinyPictures"]
SETTINGS = {"algo": "protonet", "data": "glyphs", "backbone": "tiny", "train.iterations": 2, "test.tasks": 20}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_option(tmp_path)


def train(tmp_path, **settings):
    return metarun.train(tmp_path, **{**SETTINGS, "train.validate_tasks": 4, **settings})


def test_each_example_is_encoded_once_and_the_checkpoint_holds_the_head(weights, tmp_path):
    TinyPictures.calls = 0
    run = train(tmp_path)
    loaded = metarun.load(run.path, trust=TRUST)
    data = load_data(loaded.config["data"])
    examples = sum(len(split.values) for split in data.splits.values())
    assert examples <= TinyPictures.calls <= examples + 2  # one more to learn the shape
    weights_of_run = torch.load(run.path / "best.pt", weights_only=True)["algorithm"]
    assert all(name.startswith("backbone.head.") for name in weights_of_run)
    train(tmp_path, algo="maml", **{"test.steps": 1})
    assert TinyPictures.calls <= examples + 4

    assert run.result["external_data"] == TinyPictures.saw
    assert run.result["data_hash"] == data.hash  # so that all encoders, and none, are tested on the same tasks
    assert run.result["floor_inputs"] == "tiny vectors"

    x = np.concatenate([data.splits["test"].of_class(name)[:3] for name in data.splits["test"].class_names[:2]])
    learner = loaded.adapt(x, ["a"] * 3 + ["b"] * 3)
    vectors = encode(TinyPictures(str(weights)), x, torch.device("cpu"))
    head = loaded.algorithm.backbone(torch.from_numpy(vectors)).detach().numpy()
    centroids = head.reshape(2, 3, -1).mean(1)
    nearest = ((head[:, None] - centroids) ** 2).sum(-1).argmin(1)
    assert [learner.classes.index(each) for each in learner.classify(x)] == nearest.tolist()

    write_option(tmp_path, seed=1)
    assert train(tmp_path).id != run.id
    with pytest.raises(UserError, match=r"the encoder has the hash \w+ but run \w+ was trained with"):
        metarun.load(run.path, trust=TRUST).adapt(x, ["a"] * 3 + ["b"] * 3)
    weights.unlink()
    with pytest.raises(UserError, match=r"encoder.weights=.* does not exist; name a file or folder with the weights"):
        train(tmp_path)


def test_an_encoder_of_pictures_reads_no_vectors(weights, tmp_path):
    with pytest.raises(UserError, match=r"backbone=tiny reads pictures but data=sinusoid has .* x \[1\]"):
        train(tmp_path, data="sinusoid", backbone="tiny")


def test_an_encoder_of_pictures_says_that_data_are_texts_or_recordings(weights):
    encoder, vectors = TinyPictures(str(weights)), {"x": InputSpec((4,), "float32", "floats")}
    for display, has in ((Display(texts=["a"]), "texts"), (Display(sound=True), "recordings")):
        with pytest.raises(UserError, match=f"backbone=tiny reads pictures but data=mine has {has}; use a data set of"):
            check_readable(encoder, vectors, "tiny", "mine", display)


def test_recordings_have_no_tokens():
    config = compose_config({"algo": "protonet", "data": "fsdd", "backbone": "minilm"})
    with pytest.raises(UserError, match=r"backbone=minilm needs data.features=tokens but data=fsdd has none; use data"):
        check_features(config)
    check_features(compose_config({"algo": "protonet", "data": "clinc150", "backbone": "minilm"}))


def test_an_encoder_can_be_trained_with_the_head(weights, tmp_path):
    run = train(tmp_path, **{"backbone.train": "all", "train.iterations": 1})
    trained = torch.load(run.path / "best.pt", weights_only=True)["algorithm"]["backbone.encoder.matrix"]
    assert trained.shape == (16, 8)
    assert run.result["parameters"] > trained.numel()
