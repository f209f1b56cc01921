"""Store a hash in checkpoints instead of frozen weights that come from a file."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

HASH = "frozen_sha256"  # the entry of a state dict that replaces the frozen weights


def omit_frozen_weights(network: nn.Module) -> None:
    """Replace the frozen weights in the state dict of a network by their hash; they are loaded from a file.

    Loading a state dict checks that the frozen weights are the same and does not change them. A state dict of an
    earlier version, which contains them, is loaded completely.
    """
    frozen = {name: weight for name, weight in network.named_parameters() if not weight.requires_grad}
    if not frozen or any(weight.is_meta for weight in frozen.values()):
        return
    digest = torch.frombuffer(bytearray(_sha256(frozen)), dtype=torch.uint8)

    def replace_by_hash(module: nn.Module, state: dict[str, Any], prefix: str, _: object) -> None:  # noqa: ARG001
        for name in frozen:
            del state[f"{prefix}{name}"]
        state[f"{prefix}{HASH}"] = digest

    def restore(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
        expected = state.pop(f"{prefix}{HASH}", None)
        if expected is None:
            return
        if not torch.equal(expected.cpu(), digest):
            raise RuntimeError(
                "the frozen weights differ from those in training: the file that they come from has changed"
            )
        own = dict(module.named_parameters())
        state.update({f"{prefix}{name}": own[name].detach() for name in frozen})

    network.register_state_dict_post_hook(replace_by_hash)  # type: ignore[no-untyped-call]
    network.register_load_state_dict_pre_hook(restore)  # type: ignore[no-untyped-call]


def _sha256(weights: Mapping[str, Tensor]) -> bytes:
    digest = hashlib.sha256()
    for name, weight in weights.items():
        content = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name}{weight.dtype}{tuple(weight.shape)}".encode() + content.tobytes())
    return digest.digest()
