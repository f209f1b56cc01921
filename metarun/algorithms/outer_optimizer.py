"""The outer optimisers, Adam and SGD, which compute the same bits as torch's.

Making an optimiser of `torch.optim` imports torch's compiler, which takes as long as importing the rest of torch.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam: means of the gradient and of its square, named as in torch


class OuterOptimizer:
    """Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1) or SGD, with torch's default settings.

    Args:
        kind: which of them.
        weights: to be updated by their `grad`; a weight without one stays as it is.
        lr: the learning rate; may be set before each step.
    """

    def __init__(self, kind: Literal["adam", "sgd"], weights: Sequence[Tensor], lr: float) -> None:
        self.kind = kind
        self.weights = list(weights)
        self.lr = lr
        self._states: dict[int, dict[str, Tensor]] = {}  # by the weight's place; made at its first step

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights."""
        places = [place for place, weight in enumerate(self.weights) if weight.grad is not None]
        if not places:
            return
        weights = [self.weights[place] for place in places]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if self.kind == "sgd":
            torch._foreach_add_(weights, gradients, alpha=-self.lr)
        else:
            self._adam_step(weights, gradients, [self._state(place) for place in places])

    def _adam_step(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], states: Sequence[dict[str, Tensor]]
    ) -> None:
        weights, gradients = _as_real(weights), _as_real(gradients)
        means, squares = (_as_real([state[name] for state in states]) for name in MOMENTS)
        torch._foreach_add_([state["step"] for state in states], 1)
        steps = [float(state["step"]) for state in states]  # on the CPU, so nothing waits for the device
        torch._foreach_lerp_(means, gradients, 1 - BETAS[0])
        torch._foreach_mul_(squares, BETAS[1])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - BETAS[1])
        deviations = torch._foreach_sqrt(squares)
        torch._foreach_div_(deviations, [(1 - BETAS[1] ** step) ** 0.5 for step in steps])
        torch._foreach_add_(deviations, EPSILON)
        torch._foreach_addcdiv_(weights, means, deviations, [-self.lr / (1 - BETAS[0] ** step) for step in steps])

    def _state(self, place: int) -> dict[str, Tensor]:
        if place not in self._states:
            moments = {name: torch.zeros_like(self.weights[place]) for name in MOMENTS}
            self._states[place] = {"step": torch.tensor(0.0), **moments}
        return self._states[place]

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as `torch.optim` names its parts; its tensors change with the next step."""
        group = {"lr": self.lr, "params": list(range(len(self.weights)))}
        return {"state": dict(self._states), "param_groups": [group]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of this class or of torch's optimiser of this kind; of its settings only the rate.

        Raises:
            ValueError: it is for other weights.
        """
        if not self.weights:
            return  # torch's optimisers need one, so states of earlier versions have a weight that nobody learns
        [group] = state["param_groups"]
        if len(group["params"]) != len(self.weights):
            raise ValueError(f"its optimiser has {len(group['params'])} weights, not {len(self.weights)}")
        self.lr = group["lr"]  # of the last step, so that the state is the same again
        for place, found in state["state"].items():
            weight = self.weights[place]
            if found["step"].shape != () or any(found[name].shape != weight.shape for name in MOMENTS):
                raise ValueError("its optimiser state is for another network")
            moments = {name: found[name].to(weight) for name in MOMENTS}
            self._states[place] = {"step": found["step"].cpu(), **moments}


def _as_real(tensors: Sequence[Tensor]) -> list[Tensor]:
    """View complex tensors as pairs of real numbers, whose moments are separate."""
    return [torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in tensors]
