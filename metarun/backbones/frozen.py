"""Checkpoints without the frozen weights of a network that come from a file: they stay there, known by a hash."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

HASH = "frozen_sha256"  # the entry of a state that stands for the frozen weights


def omit_frozen_weights(network: nn.Module) -> None:
    """Let the state of a network hold a hash in place of its frozen weights, which it has from a file.

    Loading a state checks that the frozen weights are the same, and leaves them. A state that still holds them, of an
    earlier version, is loaded whole.
    """
    frozen = {name: weight for name, weight in network.named_parameters() if not weight.requires_grad}
    if not frozen or any(weight.is_meta for weight in frozen.values()):
        return
    digest = torch.frombuffer(bytearray(_sha256(frozen)), dtype=torch.uint8)

    def replace_by_hash(module: nn.Module, state: dict[str, Any], prefix: str, _: object) -> None:  # noqa: ARG001
        for name in frozen:
            del state[f"{prefix}{name}"]
        state[f"{prefix}{HASH}"] = digest

    def put_back(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
        stated = state.pop(f"{prefix}{HASH}", None)
        if stated is None:
            return
        if not torch.equal(stated.cpu(), digest):
            raise RuntimeError("the frozen weights are not those of the training: the file that they come from changed")
        own = dict(module.named_parameters())
        state.update({f"{prefix}{name}": own[name].detach() for name in frozen})

    network.register_state_dict_post_hook(replace_by_hash)  # type: ignore[no-untyped-call]
    network.register_load_state_dict_pre_hook(put_back)  # type: ignore[no-untyped-call]


def _sha256(weights: Mapping[str, Tensor]) -> bytes:
    digest = hashlib.sha256()
    for name, weight in weights.items():
        content = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name}{weight.dtype}{tuple(weight.shape)}".encode() + content.tobytes())
    return digest.digest()
