"""A causal language model from a local folder, which reads the texts of examples."""

import copy
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from metarun.backbones.backbone import Backbone
from metarun.backbones.text_fields import TextFields, masked_mean
from metarun.data.inputs import InputSpec
from metarun.data.texts.text_features import BYTES
from metarun.errors import UserError, reason_of
from metarun.system.paths import PathText, is_folder, resolve_path


class CausalLM(Backbone):
    """Any causal language model of Hugging Face from a local folder, frozen.

    Nothing is downloaded, and no code in the folder is run.

    `algo=prompt` asks it for the likelihood of labels. As the backbone of another method its features are the mean of
    the last hidden states over the tokens of a text.

    Args:
        inputs: the fields of an example: the bytes of a text.
        folder: with config.json, weights in safetensors and a tokenizer.
        saw: on what the model was trained, for tables.

    Attributes:
        features: numbers of a hidden state.
        context: the most tokens that the model reads at once; None: it does not say.
        saw: see above.

    Raises:
        UserError: transformers is missing, the folder holds no such model, or examples are not bytes.
    """

    def __init__(self, inputs: Mapping[str, InputSpec], folder: PathText, saw: str = "unknown") -> None:
        super().__init__()
        self.fields = TextFields(inputs, "causal_lm")
        if self.fields.size != BYTES:
            raise UserError(
                "backbone=causal_lm reads texts as bytes but these examples are ids of words",
                "set `data.features=tokens data.tokens=bytes`.",
            )
        model, self.tokenizer = _load(folder)
        self.model: Any = model.requires_grad_(False)
        self.features: int = self.model.config.hidden_size
        self.context: int | None = getattr(self.model.config, "max_position_embeddings", None)
        self.saw = saw
        # What transformers 5 calls the keys and values of tokens that were read; it was past_key_values.
        self._cache = "cache" if "cache" in signature(self.model.forward).parameters else "past_key_values"

    def forward(self, x: Tensor | dict[str, Tensor]) -> Tensor:
        """Map bytes and a mask (n, length) to (n, features)."""
        tokens = [[*self.begin, *self.tokens(text)] for text in self.texts(x)]
        ids, mask = self._padded(tokens)
        found = self.model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True)
        hidden: Tensor = found.hidden_states[-1]
        return masked_mean(hidden, mask)

    @property
    def begin(self) -> Sequence[int]:
        """The token with which texts begin, if the model has one."""
        first = self.tokenizer.bos_token_id
        return [] if first is None else [first]

    def texts(self, x: Tensor | dict[str, Tensor]) -> list[str]:
        """Return the texts of examples: bytes and a mask (n, length). A character that was cut is replaced."""
        ids, masks = (field.tolist() for field in self.fields.of(x))
        rows = zip(ids, masks, strict=True)
        kept = [bytes(i - 1 for i, there in zip(row, mask, strict=True) if there) for row, mask in rows]
        return [text.decode("utf-8", "replace") for text in kept]

    def tokens(self, text: str) -> list[int]:
        """Return the ids of the tokens of a text, without any that mark its begin or end."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def log_likelihoods(
        self, shared: Sequence[int], questions: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
    ) -> Tensor:
        """Return (questions, answers): the log-likelihood of each answer, in nats, after `shared` and a question.

        The states of `shared` are computed once.

        Raises:
            UserError: the tokens are more than the model reads.
        """
        longest = len(shared) + max(map(len, questions)) + max(map(len, answers))
        if self.context is not None and longest > self.context:
            raise UserError(
                f"a prompt of {longest:,} tokens is longer than the {self.context:,} that this language model reads",
                "lower `task.shot`, `task.way` or `data.length`, or use a model that reads more.",
            )
        seen = self.model(input_ids=self._row(shared), use_cache=True)[self._cache]
        rows = []
        for question in questions:
            cache = copy.deepcopy(seen)  # a pass appends to it
            cache.batch_repeat_interleave(len(answers))
            ids, _ = self._padded([[*question, *answer] for answer in answers])
            logits = self.model(input_ids=ids, **{self._cache: cache}).logits.log_softmax(-1)  # (answers, length, ids)
            start = len(question)
            each = [
                logits[row, start - 1 : start - 1 + len(answer)].gather(1, ids[row, start : start + len(answer), None])
                for row, answer in enumerate(answers)
            ]
            rows.append(torch.stack([found.sum() for found in each]))
        return torch.stack(rows)

    def _row(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor([tokens], device=self.model.device)

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return ids and a mask (n, longest). Padding comes last, where no token of a causal model sees it."""
        longest = max(1, *map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=self.model.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.model.device)
        return ids, torch.arange(longest, device=self.model.device) < lengths[:, None]


def _load(folder: str) -> tuple[Any, Any]:
    """Return the model, in float32, and the tokenizer in a folder."""
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise UserError("backbone=causal_lm needs transformers", "pip install 'metarun[language-models]'.") from error
    path = resolve_path(folder)
    if not is_folder(path):
        raise UserError(f"backbone.folder={folder} is not a folder", "name the folder of a Hugging Face model.")
    disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with torch.device("cpu"):  # also where only the sizes of a network are asked for
            model = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True, dtype=torch.float32, **local)
        tokenizer = AutoTokenizer.from_pretrained(path, **local)
    except Exception as error:  # transformers raises errors of many kinds
        raise UserError(
            f"backbone.folder={folder} is not a causal language model ({reason_of(error)[:200]})",
            "it needs config.json, weights in safetensors and a tokenizer.",
        ) from error
    return model, tokenizer
