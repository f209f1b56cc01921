"""Any torch module as a backbone."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from metarun.backbones.backbone import Backbone
from metarun.backbones.module_check import accepts_memory_format, check_network
from metarun.backbones.transient_state import restore_attributes
from metarun.errors import UserError, reason_of
from metarun.system.determinism import is_determinism_error
from metarun.system.memory import is_out_of_memory


class Module(Backbone):
    """Any torch module, such as one from timm, as a backbone.

    It keeps its own normalisation: a module with running statistics is meta-trained task by task, and there is no
    `backbone.norm`. Tensors that a pass leaves in the module, such as a hidden state, are restored afterwards: nothing
    of a task remains, except for buffers in meta-training.

    Args:
        input_shape: of an example.
        module: maps (n, *input_shape) to (n, features).

    Attributes:
        features: length of the feature vector, found by a pass over zeros.
        supports_channels_last: whether it works in the channels-last memory format, which is faster.

    Raises:
        UserError: the module fails on such examples, does not return one feature vector per example, or keeps or
            changes state that it must not, see `check_network`.
    """

    def __init__(self, input_shape: tuple[int, ...], module: nn.Module) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise UserError(
                f"backbone.module is a {type(module).__name__}, not a torch.nn.Module", "name another class."
            )
        self._name = type(module).__name__
        zeros = torch.zeros(2, *input_shape)
        module.eval()
        try:
            with torch.no_grad(), restore_attributes(module):
                found = module(zeros)
        except Exception as error:
            raise UserError(
                f"backbone.module: {self._name} fails on examples of shape {list(input_shape)}: {reason_of(error)}"
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 2:
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserError(
                f"backbone.module: {self._name} returns {shape} for 2 examples but must return (2, features)",
                "end it with a mean over the map and no head (in timm: num_classes=0).",
            )
        check_network(self._name, module, zeros)
        self.supports_channels_last = accepts_memory_format(module, zeros, torch.channels_last)
        self.module = module.train()
        self.features = found.shape[1]
        self._recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *input_shape) to (n, features).

        Raises:
            UserError: the module fails on these examples.
        """
        # cuDNN's recurrent layers have no second derivative, and in eval mode no first one.
        without_cudnn = torch.backends.cudnn.flags(enabled=False) if self._recurrent and x.is_cuda else nullcontext()
        with restore_attributes(self.module), without_cudnn:
            try:
                features: Tensor = self.module(x)
            except Exception as error:
                if isinstance(error, UserError) or is_out_of_memory(error) or is_determinism_error(error):
                    raise
                dtype = str(x.dtype).removeprefix("torch.")
                shape = list(x.shape)
                raise UserError(
                    f"backbone.module: {self._name} fails on {dtype} examples of shape {shape}: {reason_of(error)}"
                ) from error
        return features
