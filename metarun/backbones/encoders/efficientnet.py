"""EfficientNet-Lite0, pre-trained on ImageNet."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.encoders.encoder import Encoder
from metarun.backbones.encoders.files import find, hash_of, state_dict
from metarun.errors import UserError, reason_of
from metarun.system.inputs import Inputs
from metarun.system.paths import PathText

_MEAN, _DEVIATION = (
    127 / 255,
    128 / 255,
)  # as it was trained: not the usual ones of ImageNet


class EfficientNetLite0(Encoder):
    """The mean over EfficientNet-Lite0's last map (Tan and Le 2019, https://arxiv.org/abs/1905.11946), of length 1.

    Pictures of any size are resized to the side that it was trained with; grey ones become three equal channels. The
    network is that of the package efficientnet-lite-pytorch (Apache 2); its weights come without a stated licence.

    Args:
        weights: a file of its weights: safetensors, or of `torch.save` without any code.
        size: pixels of a side that pictures are resized to.
        saw: on what it was trained, for tables.

    Raises:
        UserError: a package or the file is missing, or the file has other weights.
    """

    reads = "pictures"
    features = 1280

    def __init__(self, weights: PathText, size: int = 224, saw: str = "ImageNet-1k") -> None:
        super().__init__()
        if size < 32:
            raise UserError(f"backbone.encoder.size={size} but the network halves a map five times", "set it to 224.")
        path = find(weights, "backbone.encoder.weights")
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            install = "pip install 'metarun[picture-encoders]'."
            raise UserError(
                "backbone=efficientnet_lite0 needs the package efficientnet-lite-pytorch", install
            ) from error
        self.network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
        try:
            self.network.load_state_dict(state_dict(path))
        except RuntimeError as error:
            raise UserError(
                f"{path} has no weights of EfficientNet-Lite0 ({reason_of(error)[:200]})", "name another."
            ) from error
        self.network._fc = nn.Identity()  # its classifier of ImageNet
        self.network.to(memory_format=torch.channels_last)  # 1.7 times as fast on a CPU
        self.size, self.saw = size, saw
        self.hash = hash_of("EfficientNetLite0", {"weights": path}, {"size": size})

    def forward(self, x: Inputs) -> Tensor:
        """Map pictures (n, 1 or 3, height, width) in [0, 1] to (n, 1280)."""
        assert isinstance(x, Tensor)
        x = x.expand(-1, 3, -1, -1)
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        maps = self.network.extract_features((x - _MEAN) / _DEVIATION)  # type: ignore[operator]
        return F.normalize(maps.mean((-2, -1)), dim=-1)
