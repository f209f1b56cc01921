"""Models of Hugging Face's transformers from a local folder, as encoders."""

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from metarun.backbones.encoders.encoder import Encoder, texts_of
from metarun.backbones.encoders.files import find, hash_of, json_object
from metarun.backbones.encoders.tokens import Tokenizer
from metarun.backbones.text_fields import masked_mean
from metarun.data.examples import Values
from metarun.errors import UserError, reason_of
from metarun.system.inputs import Inputs
from metarun.system.paths import PathText

CONFIG, _TOKENIZER = "config.json", "tokenizer.json"


class HuggingFaceTexts(Encoder):
    """Any encoder or decoder of texts of transformers, with the mean of its last states over the tokens, of length 1.

    Nothing is downloaded, and no code in the folder is run. For BERT models `Bert` also has a second derivative.

    Args:
        weights: a Hugging Face folder: config.json, weights in safetensors, and tokenizer.json.
        length: tokens of a text at most; longer texts are cut.
        pooling: "mean" over the tokens, or "cls": the first.
        saw: on what it was trained, for tables.

    Raises:
        UserError: transformers or a file is missing, or it is another kind of model.
    """

    reads = "texts"

    def __init__(
        self, weights: PathText | None, length: int = 128, pooling: str = "mean", saw: str = "unknown"
    ) -> None:
        super().__init__()
        if pooling not in ("mean", "cls"):
            raise UserError(f"backbone.encoder.pooling={pooling} is not one of mean, cls.")
        folder = find(weights, "backbone.encoder.weights")
        model, _ = load_model(folder)
        _check_reads_texts(model, folder)
        if not (folder / _TOKENIZER).is_file():
            raise UserError(f"{folder} has no {_TOKENIZER}", "save the tokenizer there too (`save_pretrained`).")
        tokenizer = (folder / _TOKENIZER).read_bytes()
        length = min(length, _positions(model) or length)
        self.tokenizer = Tokenizer(tokenizer, f"{folder}: {_TOKENIZER}", length, special=True)
        self.model: Any = model
        self.features, self.pooling, self.saw = int(model.config.hidden_size), pooling, saw
        self.hash = hash_of("HuggingFaceTexts", {"weights": folder}, {"length": length, "pooling": pooling})

    @property
    def id_sizes(self) -> Mapping[str, int]:  # type: ignore[override]
        """See `Encoder`."""
        return {"ids": self.tokenizer.size}

    def prepare(self, raw: Values) -> Values:
        """Return ids (length,) and mask (length,) of texts."""
        return self.tokenizer.fields(texts_of(raw))

    def forward(self, x: Inputs) -> Tensor:
        """Map ids and mask (n, length) to (n, features)."""
        assert isinstance(x, dict)
        states: Tensor = self.model(input_ids=x["ids"], attention_mask=x["mask"].long()).last_hidden_state
        return F.normalize(masked_mean(states, x["mask"]) if self.pooling == "mean" else states[:, 0], dim=-1)


def _check_reads_texts(model: Any, folder: Path) -> None:
    kind = model.config.model_type
    if "decoder_input_ids" in signature(model.forward).parameters:
        raise UserError(
            f"{folder} holds an encoder-decoder ({kind}), which reads two texts",
            "use an encoder or a decoder, such as of BERT, RoBERTa or GPT-2.",
        )
    if not hasattr(model.config, "hidden_size"):
        raise UserError(f"{folder} holds a model of type {kind}, which does not read text alone", "use one that does.")


def _positions(model: Any) -> int | None:
    """Return how many tokens a model has positions for; None: there is no limit."""
    found: int = getattr(model.config, "max_position_embeddings", None) or 0
    for name, part in model.named_modules():
        if name.rpartition(".")[2] == "position_embeddings" and getattr(part, "padding_idx", None) is not None:
            found -= part.padding_idx + 1  # of RoBERTa and its kin: the first position comes after that of padding
    return found if found > 0 else None


def load_model(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return the model in a folder, without a head, and its config.

    Raises:
        UserError: transformers is missing, or the folder holds no such model.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            "Hugging Face models need the package transformers", "pip install 'metarun[language-models]'."
        ) from error
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} has no {CONFIG}", "name the folder of a Hugging Face model.")
    config = json_object((folder / CONFIG).read_bytes(), f"{folder}: {CONFIG}")
    if not [*folder.glob("*.safetensors")]:
        pickled = " (weights in pytorch_model.bin are pickled code)" if (folder / "pytorch_model.bin").exists() else ""
        raise UserError(
            f"{folder} has no weights in safetensors{pickled}", "save them in that format (`save_pretrained`)."
        )
    try:
        model = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises many types
        kind = config.get("model_type")
        raise UserError(
            f"{folder} cannot be loaded as a model of type {kind} ({reason_of(error)[:200]})",
            "use a model that transformers itself has.",
        ) from error
    return model.eval(), config
