"""A pre-trained encoder and a head network on its vectors."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from metarun.backbones.backbone import Backbone
from metarun.backbones.encoders.encoder import Encoder
from metarun.backbones.residual_mlp import ResidualMLP
from metarun.data.inputs import InputSpec
from metarun.system.inputs import Inputs
from metarun.system.limits import check_one_of

Head = Literal["residual_mlp", "none"]


class Pretrained(Backbone):
    """A head network on the vectors of a pre-trained encoder.

    An encoder that is frozen by `train="none"` maps each example once, before the training (see
    `metarun.runner.encoding`), so that the network of the run is the head alone.

    Args:
        inputs: the fields of an example: those that the encoder's `prepare` returns or, of a frozen one, its vector.
        encoder: the encoder, in the network of the run; None: examples are its vectors.
        train: "none": the encoder is frozen; "adapters": it is frozen, but in the network of the run, so that
            `algo.adapt` can adapt it; "all": all of its weights are trained.
        head: "residual_mlp", which begins as the identity, or "none".
        hidden: units of its hidden layer.

    Attributes:
        features: as many as the encoder's.
    """

    def __init__(
        self,
        inputs: Mapping[str, InputSpec],
        encoder: Encoder | None,
        train: Literal["none", "adapters", "all"] = "none",
        head: Head = "residual_mlp",
        hidden: int = 256,
    ) -> None:
        super().__init__()
        check_one_of("backbone.train", train, ("none", "adapters", "all"))
        self.encoder = encoder if encoder is None else encoder.requires_grad_(train == "all")
        width = next(iter(inputs.values())).shape[0] if encoder is None else encoder.features
        self.head: nn.Module = ResidualMLP((width,), hidden) if head == "residual_mlp" else nn.Identity()
        self.features = width

    def forward(self, x: Inputs) -> Tensor:
        """Map vectors or, if the encoder is trained, prepared examples (n, *shape) to (n, features)."""
        vectors = x if self.encoder is None else self.encoder(x)
        features: Tensor = self.head(vectors)
        return features
