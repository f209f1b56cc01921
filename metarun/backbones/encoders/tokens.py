"""Texts as the tokens that an encoder was trained with."""

from typing import Any

import numpy as np

from metarun.data.examples import Values
from metarun.errors import UserError, reason_of


class Tokenizer:
    """A tokenizer of the package tokenizers, from its JSON file; padding and truncation are metarun's own.

    Args:
        content: of `tokenizer.json`.
        where: it is, for messages.
        length: tokens of a text at most, special ones included; longer texts are cut.
        special: whether to add special tokens, such as BERT's [CLS].
    """

    def __init__(self, content: bytes, where: str, length: int, special: bool) -> None:
        if length < 3:
            raise UserError(f"backbone.encoder.length={length} but a text needs at least 3 tokens", "raise it.")
        try:
            import tokenizers
        except ImportError as error:
            raise UserError(
                "text encoders need the package tokenizers", "pip install 'metarun[text-encoders]'."
            ) from error
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_str(content.decode())
        except Exception as error:  # the package raises `Exception` itself
            raise UserError(f"{where} is not a tokenizer file ({reason_of(error)})", "get it again.") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(length)
        self.length, self.special = length, special
        self.size: int = self._tokenizer.get_vocab_size()

    def fields(self, texts: list[str]) -> Values:
        """Return the examples (texts,) of the fields ids (length,) and mask (length,); padding has the id 0."""
        found = np.zeros(len(texts), [("ids", np.int32, (self.length,)), ("mask", np.bool_, (self.length,))])
        for example, encoded in zip(
            found, self._tokenizer.encode_batch(texts, add_special_tokens=self.special), strict=True
        ):
            example["ids"][: len(encoded.ids)] = encoded.ids
            example["mask"][: len(encoded.ids)] = True
        return found
