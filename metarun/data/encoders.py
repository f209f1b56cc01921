"""Turn a user's own pictures, recordings, texts and table rows into examples like those of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from metarun.data.encoding import Encoding
from metarun.data.pictures import image_decoding
from metarun.data.sounds import sound_decoding
from metarun.data.sounds.log_mel import LogMel
from metarun.data.sounds.recordings import standardised, why_unusable
from metarun.data.sounds.waves import Waves
from metarun.data.tables.table_columns import from_json
from metarun.data.texts.text_features import Tfidf, Tokens
from metarun.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from metarun.data.tables.table_features import TableFeatures


@dataclass(frozen=True)
class PictureEncoder:
    """Pictures as (channels, size, size) uint8, see `metarun.data.pictures.image_decoding`."""

    size: int
    channels: Literal[1, 3]
    invert: bool
    noun = "picture"

    def encode(self, where: str, content: bytes) -> NDArray[np.uint8]:
        """Return the example of a file."""
        picture = image_decoding.decode(where, content, self.size, self.channels)
        return 255 - picture if self.invert else picture


@dataclass(frozen=True)
class SoundEncoder:
    """Recordings as standardised log-mel spectrograms (1, mels, frames) or waves, see `metarun.data.Audio`."""

    features: LogMel | Waves
    mean: float = 0.0
    deviation: float = 1.0
    noun = "recording"

    def encode(self, where: str, content: bytes) -> NDArray[np.float32]:
        """Return the example of a file."""
        wave, _ = sound_decoding.decode(where, content, self.features.rate)
        if (why := why_unusable(self.features, wave)) is not None:
            raise UserError(f"{where} is {why}", "remove it.")
        return standardised(self.features.of(wave), self.mean, self.deviation)


@dataclass(frozen=True)
class TextEncoder:
    """Texts as TF-IDF vectors, or as ids of tokens and a mask, see `metarun.data.texts.text_features`.

    Args:
        features: computes them.
        text: the column of texts in a table.
        label: the column of classes.
    """

    features: Tfidf | Tokens
    text: str
    label: str
    noun = "text"

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return the examples of some texts."""
        return self.features.vectors(texts) if isinstance(self.features, Tfidf) else self.features.fields(texts)[0]


@dataclass(frozen=True)
class RowEncoder:
    """Rows of a table as vectors of float32, see `metarun.data.tables.table_features`.

    Args:
        inputs: of a row.
        targets: the numbers to predict; None in classification.
        label: the column of classes or, in regression, of entities; None: it is not known.
        header: whether a CSV's first line names the columns.
        missing: whether a row may lack an input.
    """

    inputs: "TableFeatures"
    targets: "TableFeatures | None"
    label: str | None
    header: bool
    missing: bool
    noun = "row"

    def encode(self, rows: "pd.DataFrame") -> NDArray[np.float32]:
        """Return the inputs of some rows, which `TableFeatures.checked` has checked."""
        return self.inputs.vectors(rows)


Encoder = PictureEncoder | SoundEncoder | TextEncoder | RowEncoder


def encoder_of(encoding: Encoding) -> Encoder:
    """Return what applies an encoding.

    Raises:
        ValueError: it is damaged.
    """
    settings, arrays = {**encoding.settings}, encoding.arrays
    try:
        if encoding.kind == "pictures":
            return PictureEncoder(**settings)
        if encoding.kind == "sounds":
            waves = settings.pop("waves", None)
            made = Waves(**waves) if waves else LogMel(**settings.pop("log_mel"))
            return SoundEncoder(made, **settings)
        if encoding.kind == "texts":
            words = settings.pop("tokens", None)
            features = Tokens(**words) if words else Tfidf.from_arrays(settings.pop("size"), arrays)
            return TextEncoder(features, **settings)
        from metarun.data.tables.table_features import TableFeatures  # pandas: half a second

        inputs, targets = (settings.pop(key) for key in ("inputs", "targets"))
        of_targets = None if targets is None else TableFeatures(from_json(targets))
        return RowEncoder(TableFeatures(from_json(inputs)), of_targets, **settings)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its encoding of {encoding.kind} is damaged: {error}") from error
