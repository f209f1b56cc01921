"""Adapters: small weights beside a backbone's own, which tasks change in their place."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal, TypedDict, get_args

import torch
from torch import Tensor, nn

from metarun.backbones import norm_weights
from metarun.errors import UserError
from metarun.system.limits import check_one_of

Adapt = Literal["all", "head", "norm", "film", "lora"]
Weights = Mapping[str, Tensor]


class AdaptOptions(TypedDict, total=False):
    """Arguments on what tasks change, see `LinearHeadMethod`."""

    adapt: Adapt
    adapt_rank: int
    adapt_alpha: float


class Adapter(nn.Module):
    """What a task adapts in place of a backbone's own weights. At first it changes nothing.

    Its parameters are the values with which every task starts.
    """

    @abstractmethod
    def layer_weights(self, backbone: nn.Module, own: Weights, values: Weights) -> dict[str, Tensor]:
        """Return the weights of the adapted layers, by their names in the backbone.

        Args:
            backbone: the network, whose weights are used where `own` has none.
            own: weights of the backbone by name.
            values: of the adapter in one task, by their names in the adapter.
        """


class LoRA(Adapter):
    """Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1): W + alpha / rank B A.

    Every linear layer and convolution has an A (rank, inputs) and a B (outputs, rank); a convolution's weight is read
    as (outputs, inputs * height * width). A is random and B is zero at first, so the network is unchanged. Biases and
    other weights have no adapter.

    Args:
        backbone: the network.
        rank: of the changes of a layer's weight.
        alpha: the change is multiplied by alpha / rank.

    Raises:
        UserError: the backbone has no such layer.
    """

    def __init__(self, backbone: nn.Module, rank: int, alpha: float) -> None:
        super().__init__()
        if rank < 1 or alpha <= 0:
            raise UserError(
                f"algo.adapt_rank={rank} and algo.adapt_alpha={alpha} but rank must be at least 1 and alpha above 0",
                "raise `algo.adapt_rank` or `algo.adapt_alpha`.",
            )
        self.layers = [name for name, layer in backbone.named_modules() if isinstance(layer, _PRODUCTS)]
        if not self.layers:
            raise UserError(
                "algo.adapt=lora needs linear layers or convolutions but this backbone has none",
                "set `algo.adapt=all`, or use another backbone.",
            )
        self.factor = alpha / rank
        weights = [backbone.get_parameter(f"{layer}.weight") for layer in self.layers]
        self.a = nn.ParameterList(weight.new_empty(rank, weight[0].numel()) for weight in weights)
        self.b = nn.ParameterList(weight.new_zeros(len(weight), rank) for weight in weights)
        for a in self.a:
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))  # as the authors' code

    def layer_weights(self, backbone: nn.Module, own: Weights, values: Weights) -> dict[str, Tensor]:
        """See `Adapter`."""
        found = {}
        for i, layer in enumerate(self.layers):
            weight = _own(f"{layer}.weight", backbone, own)
            change = values[f"b.{i}"] @ values[f"a.{i}"]  # (outputs, inputs)
            found[f"{layer}.weight"] = weight + self.factor * change.view_as(weight)
        return found


class FiLM(Adapter):
    """Feature-wise linear modulation (Perez et al. 2018, https://arxiv.org/abs/1709.07871) after each normalisation.

    y = scale * norm(x) + shift per channel, as CNAPs (Requeima et al. 2019, https://arxiv.org/abs/1906.07697) adapts a
    network to a task, but by gradient steps instead of a generating network. The scales are 1 and the shifts 0 at
    first. With norm(x) = weight * z + bias this is a norm with the weight scale * weight and the bias
    scale * bias + shift.

    Args:
        backbone: the network.

    Raises:
        UserError: the backbone has no normalisation with a weight and a bias per channel.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        names = set(norm_weights(backbone))
        layers = [name.removesuffix(".bias") for name in norm_weights(backbone) if name.endswith(".bias")]
        self.layers = [layer for layer in layers if f"{layer}.weight" in names]
        if not self.layers:
            raise UserError(
                "algo.adapt=film needs a normalisation with a scale and a shift but this backbone has none",
                "set `algo.adapt=lora`, or a `backbone.norm` other than none.",
            )
        biases = [backbone.get_parameter(f"{layer}.bias") for layer in self.layers]
        self.scale = nn.ParameterList(torch.ones_like(bias) for bias in biases)
        self.shift = nn.ParameterList(torch.zeros_like(bias) for bias in biases)

    def layer_weights(self, backbone: nn.Module, own: Weights, values: Weights) -> dict[str, Tensor]:
        """See `Adapter`."""
        found = {}
        for i, layer in enumerate(self.layers):
            scale, shift = values[f"scale.{i}"], values[f"shift.{i}"]
            found[f"{layer}.weight"] = scale * _own(f"{layer}.weight", backbone, own)
            found[f"{layer}.bias"] = scale * _own(f"{layer}.bias", backbone, own) + shift
        return found


_PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def make_adapter(adapt: Adapt, backbone: nn.Module, rank: int, alpha: float) -> Adapter | None:
    """Return the adapter that `algo.adapt` names; None if tasks change weights of the backbone itself, or none.

    Raises:
        UserError: the name is unknown or the backbone has nothing to adapt.
    """
    check_one_of("algo.adapt", adapt, get_args(Adapt))
    if adapt == "lora":
        return LoRA(backbone, rank, alpha)
    if adapt == "film":
        return FiLM(backbone)
    trained = dict(backbone.named_parameters())
    if adapt == "norm" and not any(trained[name].requires_grad for name in norm_weights(backbone) if name in trained):
        raise UserError(
            "algo.adapt=norm needs a normalisation with trained weights but this backbone has none",
            "set `algo.adapt=lora`, or `algo.adapt=film` if its normalisation is frozen.",
        )
    return None


def chosen_weights(adapt: Adapt, adapter: Adapter | None, backbone: nn.Module, trained: Weights) -> dict[str, Tensor]:
    """Return what a task adapts of a backbone, before adaptation.

    Args:
        adapt: what to adapt.
        adapter: of the backbone, if `adapt` names one.
        backbone: the network.
        trained: its trained weights, as "backbone.…".

    Returns:
        "backbone.…" and "adapter.…": all trained weights, those of its normalisation, those of the adapter, or none.
    """
    if adapt == "all":
        return dict(trained)
    if adapt == "norm":
        return {
            name: trained[name] for name in (f"backbone.{own}" for own in norm_weights(backbone)) if name in trained
        }
    return {} if adapter is None else dict(adapter.named_parameters(prefix="adapter"))


def _own(name: str, backbone: nn.Module, own: Weights) -> Tensor:
    return own[name] if name in own else backbone.get_parameter(name)
