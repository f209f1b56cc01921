"""Check that a user's network keeps no state that would make its results wrong."""

import copy
import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from metarun.backbones.transient_state import changed_tensors, flatten, restore_attributes, snapshot
from metarun.errors import UserError, reason_of

Versions = dict[str, tuple[Tensor, int]]  # each weight and buffer with the number of writes to it


def check_network(name: str, network: nn.Module, examples: Tensor) -> None:
    """Refuse a network whose predictions depend on earlier ones, or whose state a checkpoint does not cover.

    Args:
        name: of its class, for messages.
        network: in eval mode, after a first pass.
        examples: (2, *shape), valid inputs.

    Raises:
        UserError: it has unregistered weights; in eval mode it changes a weight or buffer, or draws random numbers; in
            training it changes state that is not in checkpoints; it cannot be copied, or not run in float64.
    """
    if any(is_lazy(weight) for weight in network.parameters()):
        raise UserError(f"backbone.module: {name} has a lazy layer that no pass uses", "remove it.")
    _detach_computed(network)
    _check_registered(name, network)
    _check_eval_mode(name, network, examples)
    twin = _copied(name, network)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        _check_training(name, twin.train(), examples)
    _check_float64(name, _copied(name, twin).eval(), examples)


def accepts_memory_format(network: nn.Module, examples: Tensor, order: torch.memory_format) -> bool:
    """Whether a network works on examples (n, *shape) in another memory format; one that uses `view` may not."""
    twin = copy.deepcopy(network)
    try:
        twin.to(memory_format=order)  # type: ignore[call-overload]
        with torch.no_grad():
            twin(examples)
    except Exception:
        return False
    return True


def _check_registered(name: str, network: nn.Module) -> None:
    registered = set(network.modules())
    for part in network.modules():
        kept = vars(part).keys() - {"_parameters", "_buffers", "_modules", "_flat_weights"}
        for attribute in sorted(kept):
            for item in flatten(vars(part)[attribute]):
                is_weight = isinstance(item, Tensor) and item.requires_grad
                is_layer = (
                    isinstance(item, nn.Module) and item not in registered and any(True for _ in item.parameters())
                )
                if is_weight or is_layer:
                    raise UserError(
                        f"backbone.module: {name} has unregistered weights in its attribute {attribute}, which no "
                        "method can train",
                        "register them by nn.Parameter, nn.ParameterList or nn.ModuleList, and compute what depends "
                        "on them in `forward`.",
                    )


def _check_eval_mode(name: str, network: nn.Module, examples: Tensor) -> None:
    random, before = torch.get_rng_state(), _versions(network)
    with torch.no_grad(), restore_attributes(network):
        network(examples)
    if wrong := _changed_weights(before, network):
        raise UserError(
            f"backbone.module: {name} changes its {wrong[0]} in eval mode, so predictions depend on earlier ones",
            "change it only `if self.training`, and remove `max_norm`.",
        )
    if not torch.equal(random, torch.get_rng_state()):
        raise UserError(
            f"backbone.module: {name} draws random numbers in eval mode",
            "pass `training=self.training` to F.dropout, or use nn.Dropout.",
        )


def _check_training(name: str, network: nn.Module, examples: Tensor) -> None:
    kept, before, held = set(network.state_dict(keep_vars=True)), _versions(network), snapshot(network)
    try:
        with restore_attributes(network):
            found = network(examples)
            others = [attribute for part, attribute, was in changed_tensors(held) if _is_state(part, attribute, was)]
    except Exception:  # two zeros may be too few to train on; real errors show on the data
        return
    if not isinstance(found, Tensor):
        raise UserError(
            f"backbone.module: {name} returns a {type(found).__name__} in training but must return (n, features)",
            "disable its auxiliary outputs.",
        )
    if lost := [each for each in _changed_weights(before, network) if each not in kept]:
        raise UserError(
            f"backbone.module: {name} changes its buffer {lost[0]} in training, which is not in checkpoints",
            "register it with `persistent=True`.",
        )
    if others:
        raise UserError(
            f"backbone.module: {name} changes its attribute {others[0]} in training, which is not in checkpoints",
            f"make it a buffer with `register_buffer('{others[0]}', …)`.",
        )


def _check_float64(name: str, twin: nn.Module, examples: Tensor) -> None:
    try:
        with torch.no_grad():
            found = twin.double()(examples.double())
        if found.dtype != torch.float64:
            raise TypeError(f"it returns {found.dtype}")
    except Exception as error:
        raise UserError(
            f"backbone.module: {name} does not support float64, which metarun needs for its checks: {reason_of(error)}",
            "compute in the dtype of the weights, with constants as buffers and without `.float()`.",
        ) from error


def _copied(name: str, network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except Exception as error:
        raise UserError(
            f"backbone.module: {name} cannot be copied, perhaps because it keeps tensors of a pass in a list or dict: "
            f"{reason_of(error)}"
        ) from error


def _versions(network: nn.Module) -> Versions:
    every = itertools.chain(network.named_parameters(), network.named_buffers())
    return {name: (tensor, tensor._version) for name, tensor in every}


def _changed_weights(before: Versions, network: nn.Module) -> list[str]:
    """Return the weights and buffers that were replaced or written to."""
    now = _versions(network)
    return [
        name
        for name, (tensor, version) in before.items()
        if name not in now or now[name][0] is not tensor or now[name][1] != version
    ]


def _is_state(part: nn.Module, attribute: str, was: Any) -> bool:
    """Whether an attribute is more than a cache: a tensor that existed before and that no hook computes."""
    return isinstance(was, Tensor) and attribute not in _computed(part)


def _computed(part: nn.Module) -> set[Any]:
    """Return the weights that hooks compute before each pass: weight_norm, spectral_norm, prune."""
    hooks = part._forward_pre_hooks.values()
    return {getattr(hook, "name", getattr(hook, "_tensor_name", None)) for hook in hooks}


def _detach_computed(network: nn.Module) -> None:
    """Detach what hooks computed when they were registered: it cannot be copied, and every pass recomputes it."""
    for part in network.modules():
        for name in _computed(part) & vars(part).keys():
            vars(part)[name] = vars(part)[name].detach()
