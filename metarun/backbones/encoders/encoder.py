"""The interface of a pre-trained encoder, and its use on whole data sets."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarun.backbones.backbone import Backbone
from metarun.data.display import Display
from metarun.data.examples import Values
from metarun.data.inputs import InputSpec
from metarun.data.texts.text_features import BYTES
from metarun.errors import UserError
from metarun.system.inputs import Inputs, as_tensors, map_inputs, to_network

Reads = Literal["texts", "pictures", "sounds"]
_BATCH = 64  # examples per pass
_PICTURES_ON_CPU = 4  # whose maps fit its caches: EfficientNet-Lite0 is 1.7 times as fast as with 64


class Encoder(Backbone):
    """A pre-trained network, from a raw example to a vector: `forward(prepared(prepare(raw)))`.

    `prepare` is what a network is not needed for, such as tokens; it knows the size and the scale that the encoder was
    trained with. `forward` is an ordinary torch network, so it can be trained: build the class, call `prepare` on the
    raw examples once, and give its fields to `forward` as tensors.

    Attributes:
        features: length of the vector.
        reads: what an example is, see `check_readable`.
        saw: on what it was pre-trained: the external data of a run.
        hash: of its weights and settings: equal hashes mean equal vectors.
        id_sizes: of each field of ids that `prepare` returns, how many there are.
    """

    reads: Reads
    saw: str
    hash: str
    id_sizes: Mapping[str, int] = {}

    def prepare(self, raw: Values) -> Values:
        """Return the inputs (n, *shape) of raw examples, as arrays that can be stored."""
        return raw

    @abstractmethod
    def forward(self, x: Inputs) -> Tensor:
        """Map inputs (n, *shape), or a dict of such fields, to (n, features)."""


def check_readable(
    encoder: Encoder, inputs: Mapping[str, InputSpec], backbone: str, data: str, display: Display
) -> None:
    """Raise a UserError if the examples of a data set are not what an encoder reads.

    Args:
        encoder: it reads UTF-8 texts as ids of bytes and a mask, pictures as bytes (channels, height, width), or sounds
            as floats (samples,).
        inputs: the fields of an example.
        backbone: the option of `backbone`, for the message.
        data: the name of the data set.
        display: of the data: rows of a table look like sounds, and TF-IDF vectors of texts like any numbers.
    """
    found = _kind_of(inputs, display.sound)
    if found == encoder.reads:
        return
    has = {"texts": "texts", "pictures": "pictures", "sounds": "recordings"}
    fields = ", ".join(f"{name} {list(spec.shape)} of {spec.kind}" for name, spec in inputs.items())
    remedy = {
        "texts": "use data=text, clinc150, banking77 or hwu64 without `data.features` and `data.tokens`",
        "pictures": "use a data set of pictures",
        "sounds": "use data=fsdd or audio without `data.features`",
    }
    made_of = "texts" if display.texts else "sounds" if display.sound else found  # by TF-IDF, of spectrograms, …
    what = f"has examples of {fields}" if made_of in (None, encoder.reads) else f"has {has[made_of]}"
    raise UserError(
        f"backbone={backbone} reads {has[encoder.reads]} but data={data} {what}",
        f"{remedy[encoder.reads]}, or choose another backbone.",
    )


# Data sets whose classes, or some of them, are among those of ImageNet.
_IN_IMAGENET = ("caltech101", "miniimagenet", "tiered_imagenet", "cub", "cifar_fs", "fc100")


def may_know_classes(encoder: Encoder, data: str) -> bool:
    """Whether meta-test classes of a data set are known to be among those that an encoder was trained on."""
    return "imagenet" in encoder.saw.lower() and any(name in data for name in _IN_IMAGENET)


def _kind_of(inputs: Mapping[str, InputSpec], sound: bool) -> Reads | None:
    specs = list(inputs.values())
    kinds = {spec.kind: spec for spec in specs}
    if len(specs) == 2 and {*kinds} == {"ids", "mask"} and kinds["ids"].size == BYTES:
        return "texts"
    if len(specs) != 1:
        return None
    if specs[0].kind == "bytes" and len(specs[0].shape) == 3 and specs[0].shape[0] in (1, 3):
        return "pictures"
    return "sounds" if sound and specs[0].kind == "floats" and len(specs[0].shape) == 1 else None


def texts_of(raw: Values) -> list[str]:
    """Return the texts of examples with the fields ids and mask, see `metarun.data.texts.text_features.Tokens`."""
    ids, mask = raw["ids"], raw["mask"]
    # A text may have been cut inside a character.
    return [
        (row[there] - 1).astype(np.uint8).tobytes().decode(errors="ignore")
        for row, there in zip(ids, mask, strict=True)
    ]


@torch.no_grad()
def encode(encoder: Encoder, raw: Values, device: torch.device) -> NDArray[np.float32]:
    """Return the vectors (n, features) of raw examples."""
    encoder.to(device).eval()
    prepared = encoder.prepare(raw)
    found = np.empty((len(raw), encoder.features), np.float32)
    lengths = prepared["mask"].sum(1) if prepared.dtype.names else np.zeros(len(raw), int)
    order = np.argsort(lengths, kind="stable")  # texts of one length together, without much padding
    batch = _PICTURES_ON_CPU if encoder.reads == "pictures" and device.type == "cpu" else _BATCH
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        found[rows] = (
            encoder(_cropped(as_inputs(prepared[rows], device), int(lengths[rows].max()))).float().cpu().numpy()
        )
    return found


def as_inputs(prepared: Values, device: torch.device, dtype: torch.dtype = torch.float32) -> Inputs:
    """Return prepared examples as tensors."""
    return to_network(as_tensors(prepared, device), device, dtype)


def _cropped(x: Inputs, length: int) -> Inputs:
    return x if isinstance(x, Tensor) else map_inputs(lambda field: field[:, : max(1, length)], x)
