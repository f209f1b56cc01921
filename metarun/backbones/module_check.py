"""What a network of anybody's must leave alone, so that a number made with it means what it says."""

import copy
import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from metarun.backbones.transient_state import changed_tensors, flatten, restore_attributes, snapshot
from metarun.errors import UserError

Versions = dict[str, tuple[Tensor, int]]  # each weight and buffer, and how often it was written to


def check_network(name: str, network: nn.Module, examples: Tensor) -> None:
    """Refuse what makes a prediction depend on earlier ones, or a checkpoint less than the network.

    Args:
        name: of its class, for messages.
        network: in eval mode, after a first pass.
        examples: (2, *shape) that it takes.

    Raises:
        UserError: it has weights that are not registered; in eval mode it changes a weight or a buffer, or draws random
            numbers; in training it changes what no checkpoint has; it cannot be copied, or not compute in float64.
    """
    if any(is_lazy(weight) for weight in network.parameters()):
        raise UserError(f"backbone.module: {name} has a lazy part that no pass goes through", "remove it.")
    _detach_computed(network)
    _check_registered(name, network)
    _check_eval_mode(name, network, examples)
    twin = _copied(name, network)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        _check_training(name, twin.train(), examples)
    _check_float64(name, _copied(name, twin).eval(), examples)


def accepts_memory_format(network: nn.Module, examples: Tensor, order: torch.memory_format) -> bool:
    """Whether a network takes its weights in another memory format, and examples (n, *shape); `view` may not."""
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
                        f"backbone.module: {name} keeps weights in its attribute {attribute}, where no method finds "
                        "them",
                        "register them by nn.Parameter, nn.ParameterList or nn.ModuleList, and compute what "
                        "follows from them in `forward`.",
                    )


def _check_eval_mode(name: str, network: nn.Module, examples: Tensor) -> None:
    random, before = torch.get_rng_state(), _versions(network)
    with torch.no_grad(), restore_attributes(network):
        network(examples)
    if wrong := _changed_weights(before, network):
        raise UserError(
            f"backbone.module: {name} changes its {wrong[0]} in eval mode, so that a prediction depends on those "
            "before it",
            "change it only `if self.training`, and leave out `max_norm`.",
        )
    if not torch.equal(random, torch.get_rng_state()):
        raise UserError(
            f"backbone.module: {name} draws random numbers in eval mode",
            "give F.dropout `training=self.training`, or use nn.Dropout.",
        )


def _check_training(name: str, network: nn.Module, examples: Tensor) -> None:
    kept, before, held = set(network.state_dict(keep_vars=True)), _versions(network), snapshot(network)
    try:
        with restore_attributes(network):
            found = network(examples)
            others = [attribute for part, attribute, was in changed_tensors(held) if _is_state(part, attribute, was)]
    except Exception:  # two zeros may be too few to train on; what is wrong comes out on the data
        return
    if not isinstance(found, Tensor):
        raise UserError(
            f"backbone.module: {name} makes a {type(found).__name__} in training, but a backbone makes (n, features)",
            "turn its auxiliary outputs off.",
        )
    if lost := [each for each in _changed_weights(before, network) if each not in kept]:
        raise UserError(
            f"backbone.module: {name} changes its buffer {lost[0]} in training, which no checkpoint has",
            "register it with `persistent=True`.",
        )
    if others:
        raise UserError(
            f"backbone.module: {name} changes its attribute {others[0]} in training, which no checkpoint has",
            f"make it a buffer with `register_buffer('{others[0]}', …)`.",
        )


def _check_float64(name: str, twin: nn.Module, examples: Tensor) -> None:
    try:
        with torch.no_grad():
            found = twin.double()(examples.double())
        if found.dtype != torch.float64:
            raise TypeError(f"it makes {found.dtype} of them")
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"backbone.module: {name} does not take float64, in which metarun checks a method: {reason}",
            "let it compute in the type of its weights, with constants as buffers and without `.float()`.",
        ) from error


def _copied(name: str, network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"backbone.module: {name} cannot be copied, perhaps since it keeps tensors of a pass in a list or dict: "
            f"{reason}"
        ) from error


def _versions(network: nn.Module) -> Versions:
    every = itertools.chain(network.named_parameters(), network.named_buffers())
    return {name: (tensor, tensor._version) for name, tensor in every}


def _changed_weights(before: Versions, network: nn.Module) -> list[str]:
    """Return which weights and buffers were set anew or written to."""
    now = _versions(network)
    return [
        name
        for name, (tensor, version) in before.items()
        if name not in now or now[name][0] is not tensor or now[name][1] != version
    ]


def _is_state(part: nn.Module, attribute: str, was: Any) -> bool:
    """Whether an attribute is more than a cache: a tensor that was there before, and that no hook of torch's computes.

    Hooks that compute a weight before each pass are those of weight_norm, spectral_norm and prune.
    """
    return isinstance(was, Tensor) and attribute not in _computed(part)


def _computed(part: nn.Module) -> set[Any]:
    hooks = part._forward_pre_hooks.values()
    return {getattr(hook, "name", getattr(hook, "_tensor_name", None)) for hook in hooks}


def _detach_computed(network: nn.Module) -> None:
    """Cut off what such hooks computed when they were made: it cannot be copied, and is computed anew anyway."""
    for part in network.modules():
        for name in _computed(part) & vars(part).keys():
            vars(part)[name] = vars(part)[name].detach()
