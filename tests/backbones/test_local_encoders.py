"""Encoders from local folders and files: `make test-encoders`."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

from metarun.algorithms.learn2learn.importing import import_torchvision
from metarun.backbones.encoders import HuggingFaceTexts, LocalPictures, encode
from metarun.data.texts.text_features import Tokens
from metarun.errors import UserError

pytestmark = [pytest.mark.encoders, pytest.mark.filterwarnings("default")]  # transformers deprecates much

CPU = torch.device("cpu")
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), np.uint8)
SCALED = (torch.from_numpy(PICTURES) / 255 - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / 0.25
LAYER = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
PREPROCESSOR = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.25, 0.25, 0.25]}


@pytest.fixture(autouse=True)
def _torchvision():
    """timm and transformers import it, which fails where it is built for another torch."""
    import_torchvision()


def save_tiny_vit(folder):
    import transformers

    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(
        transformers.ViTConfig(**LAYER, image_size=32, patch_size=16, num_labels=1_000)
    ).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return model


ROBERTA = {**LAYER, "max_position_embeddings": 20}  # positions 2 to 19
DISTILBERT = {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 8, "max_position_embeddings": 18}
GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 18}
XLNET = {"d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 8}
T5 = {"d_model": 8, "d_kv": 4, "num_layers": 1, "num_heads": 2, "d_ff": 8}


def save_tiny_text_model(folder, name="Roberta", sizes=ROBERTA):
    import tokenizers
    import transformers

    torch.manual_seed(0)
    words = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "my", "card", "is", "lost"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    config = getattr(transformers, f"{name}Config")(vocab_size=len(words), **sizes)
    model = getattr(transformers, f"{name}Model")(config).eval()
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


def save_tiny_clip(folder):
    import transformers

    pictures, texts = {**LAYER, "image_size": 32, "patch_size": 16}, {**LAYER, "vocab_size": 8}
    config = transformers.CLIPConfig(text_config=texts, vision_config=pictures, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(folder)


def test_pictures_are_encoded_as_by_a_model_of_transformers(tmp_path):
    model = save_tiny_vit(tmp_path)
    encoder = LocalPictures(str(tmp_path), size=32)
    with torch.no_grad():
        expected = normalize(model.vit(SCALED).last_hidden_state.mean(1), dim=-1)
        pooled = encoder.network.model(SCALED).pooler_output  # of random weights, which the classifier has none of
    found = encode(encoder, PICTURES, CPU)
    assert any(np.allclose(found, each, atol=1e-5) for each in (expected, normalize(pooled, dim=-1)))
    assert encoder.saw == "ImageNet-1k"
    with pytest.raises(
        UserError, match=r"fails on pictures of 224 pixels .*; set `backbone\.encoder\.size` to what it"
    ):
        LocalPictures(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "sizes", "longest"),
    [
        ("Roberta", ROBERTA, 18),
        ("MPNet", ROBERTA, 18),
        ("DistilBert", DISTILBERT, 18),
        ("GPT2", GPT2, 18),
        ("XLNet", XLNET, 64),
    ],
)
def test_texts_are_encoded_as_by_a_model_of_transformers(tmp_path, name, sizes, longest):
    model = save_tiny_text_model(tmp_path, name, sizes)
    raw = Tokens("bytes", 257, 512).fields(["my card is lost", "card", "my " * 64])[0]
    texts = [4, 5, 6, 7], [5], [4] * longest
    with torch.no_grad():
        expected = [model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0) for ids in texts]
    encoder = HuggingFaceTexts(str(tmp_path), length=64)
    np.testing.assert_allclose(encode(encoder, raw, CPU), normalize(torch.stack(expected), dim=-1), atol=1e-5)
    assert encoder.features == 8


def test_models_that_do_not_read_texts_are_refused(tmp_path):
    save_tiny_text_model(tmp_path / "t5", "T5", T5)
    with pytest.raises(UserError, match=r"t5 holds an encoder-decoder \(t5\), which reads two texts; use an"):
        HuggingFaceTexts(str(tmp_path / "t5"))
    save_tiny_clip(tmp_path / "clip")
    with pytest.raises(UserError, match=r"model of type clip, which does not read text alone; use one that does"):
        HuggingFaceTexts(str(tmp_path / "clip"))


def test_missing_files_are_named(tmp_path):
    save_tiny_text_model(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer\.json; save the tokenizer there too"):
        HuggingFaceTexts(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights in safetensors; save them in that format"):
        HuggingFaceTexts(str(tmp_path))


def test_a_folder_of_timm_says_its_architecture_and_scale(tmp_path):
    import timm

    torch.manual_seed(0)
    model = timm.create_model("test_resnet", pretrained=False).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "test_resnet", "pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.25, 0.25]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoder = LocalPictures(str(tmp_path), size=32)
    with torch.no_grad():
        expected = normalize(model.forward_head(model.forward_features(SCALED), pre_logits=True), dim=-1)
    np.testing.assert_allclose(encode(encoder, PICTURES, CPU), expected, atol=1e-5)
    assert encoder.saw == "ImageNet-1k"
    file = str(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"timm has no network test_resnett\. Did you mean 'test_resnet'"):
        LocalPictures(file, "timm/test_resnett")
    with pytest.raises(UserError, match=r"has no weights of timm/test_vit: it "):
        LocalPictures(file, "timm/test_vit")
    with pytest.raises(
        UserError, match=r"architecture=None does not say which network .* are for; set it to timm/NAME or"
    ):
        LocalPictures(file)


def test_a_file_of_torchvision_needs_its_architecture(tmp_path):
    models = import_torchvision().models
    torch.manual_seed(0)
    model = models.resnet18(weights=None, num_classes=10).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    encoder = LocalPictures(str(tmp_path / "weights.pth"), "torchvision/resnet18", size=32, saw="ten classes")
    assert (encoder.features, encoder.saw) == (512, "ten classes")
    model.fc = torch.nn.Identity()
    mean, deviation = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = normalize(model((torch.from_numpy(PICTURES) / 255 - mean) / deviation), dim=-1)
    np.testing.assert_allclose(encode(encoder, PICTURES, CPU), expected, atol=1e-5)


def test_missing_and_damaged_weights_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"encoder\.weights=null names no weights; set it to a file or folder"):
        LocalPictures(None)
    with pytest.raises(UserError, match=r"has no config\.json; name a Hugging Face folder, or a file and"):
        LocalPictures(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    with pytest.raises(UserError, match=r"has no weights; a folder of timm needs model\.safetensors"):
        LocalPictures(str(tmp_path))
