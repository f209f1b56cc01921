"""Proximal policy optimisation (Schulman et al. 2017, https://arxiv.org/abs/1707.06347)."""

import torch
from torch import Tensor

from metarun.errors import UserError
from metarun.system.limits import check_at_least


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return what each action earns: the smaller of ratio and clipped ratio, times its advantage (equation 7).

    Args:
        ratio: (...) of the probability of an action to that under the policy that took it.
        advantages: (...) of the actions.
        clip: a ratio of more than 1 + clip, or less than 1 - clip, earns no more.
    """
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def check_ppo(outer_epochs: int, clip: float) -> None:
    """Raise a UserError for settings out of range."""
    check_at_least("algo.outer_epochs", outer_epochs, 1)
    check_clip(clip)


def check_clip(clip: float) -> None:
    """Raise a UserError if `clip` is out of range."""
    if not 0 < clip < 1:
        raise UserError(f"algo.clip={clip} but it must be between 0 and 1", "correct `algo.clip`.")
