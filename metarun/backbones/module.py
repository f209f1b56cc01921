"""Any network, as it is."""

import torch
from torch import Tensor, nn

from metarun.backbones.backbone import Backbone
from metarun.errors import UserError


class Module(Backbone):
    """A torch module of anybody's, such as one from timm, as a backbone.

    Its normalisation is its own: a module with running statistics is meta-trained task by task, and `backbone.norm`
    does not exist.

    Args:
        input_shape: of an example.
        module: maps (n, *input_shape) to (n, features).

    Attributes:
        features: how many numbers describe an example; found out by asking for the features of one zero.

    Raises:
        UserError: the module cannot take such examples, or gives something other than a row of numbers for each.
    """

    def __init__(self, input_shape: tuple[int, ...], module: nn.Module) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise UserError(f"backbone.module is a {type(module).__name__}, not a torch.nn.Module; name another class.")
        name = type(module).__name__
        module.eval()
        try:
            with torch.no_grad():
                found = module(torch.zeros(2, *input_shape))
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"backbone.module: {name} cannot take examples of shape {list(input_shape)}: {reason}"
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 2:
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserError(
                f"backbone.module: {name} makes {shape} of 2 examples, but a backbone makes (2, features); "
                "end it with a mean over the map and without a head, in timm with num_classes: 0."
            )
        self.module = module.train()
        self.features = found.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *input_shape) to (n, features)."""
        features: Tensor = self.module(x)
        return features
