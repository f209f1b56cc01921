"""Static embeddings of words, distilled from a language model's input embeddings."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.encoders.encoder import Encoder, texts_of
from metarun.backbones.encoders.files import find, hash_of, state_dict
from metarun.backbones.encoders.tokens import Tokenizer
from metarun.backbones.text_fields import masked_mean
from metarun.data.examples import Values
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.system.paths import PathText


class WordLlama(Encoder):
    """The mean of a text's token embeddings, of length 1 (https://github.com/dleemiller/WordLlama, MIT).

    Args:
        weights: a safetensors file with the one tensor `embedding.weight` (tokens, features).
        tokenizer: its tokenizer.json.
        length: tokens of a text at most; longer texts are cut.
        saw: on what it was trained, for tables.

    Raises:
        UserError: a file is missing or not of this kind.
    """

    reads = "texts"

    def __init__(self, weights: PathText, tokenizer: PathText, length: int = 128, saw: str = "unknown") -> None:
        super().__init__()
        files = {
            "weights": find(weights, "backbone.encoder.weights"),
            "tokenizer": find(tokenizer, "backbone.encoder.tokenizer"),
        }
        self.tokenizer = Tokenizer(files["tokenizer"].read_bytes(), str(files["tokenizer"]), length, special=False)
        embedding = state_dict(files["weights"]).get("embedding.weight")
        if not isinstance(embedding, Tensor) or embedding.ndim != 2 or len(embedding) < self.tokenizer.size:
            raise UserError(
                f"{files['weights']} has no embedding.weight of {self.tokenizer.size:,} tokens",
                "set `backbone.encoder.weights` and `backbone.encoder.tokenizer` to files of one model.",
            )
        self.embedding = nn.Embedding(len(embedding), embedding.shape[1], _weight=embedding.float())
        self.features, self.saw = embedding.shape[1], saw
        self.hash = hash_of("WordLlama", files, {"length": length})

    @property
    def id_sizes(self) -> Mapping[str, int]:  # type: ignore[override]
        """See `Encoder`."""
        return {"ids": self.embedding.num_embeddings}

    def prepare(self, raw: Values) -> Values:
        """Return ids (length,) and mask (length,) of texts."""
        return self.tokenizer.fields(texts_of(raw))

    def forward(self, x: Inputs) -> Tensor:
        """Map ids and mask (n, length) to (n, features)."""
        assert isinstance(x, dict)
        return F.normalize(masked_mean(self.embedding(x["ids"]), x["mask"]), dim=-1)
