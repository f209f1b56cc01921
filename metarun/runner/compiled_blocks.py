"""Whether the blocks of a network are computed by compiled code: `train.compile`."""

import logging

import torch

from metarun.algorithms import Algorithm
from metarun.backbones.fused import has_blocks, set_compiled, why_not_compiled
from metarun.config.key_origins import set_by
from metarun.config.schema import Config
from metarun.errors import UserError

log = logging.getLogger(__name__)

# Steps from which on compiling is worth its 10 seconds, once for a machine. Only the config decides, not what happens
# to be compiled already, so that the same command gives the same bits.
MIN_ITERATIONS = 200


def choose_blocks(algorithm: Algorithm, config: Config, device: torch.device) -> None:
    """Use compiled code in the blocks of a method's network where `train.compile` says so and there is any.

    Raises:
        UserError: `train.compile` is invalid, or true but not possible on this machine.
    """
    choice = config["train"].get("compile", False)  # missing in runs of earlier versions
    if choice not in (True, False, "auto"):
        raise UserError(f"train.compile='{choice}'{set_by('train.compile')} is not one of auto, true, false.")
    iterations = config["train"]["iterations"]
    if choice is False or (choice == "auto" and iterations is not None and iterations < MIN_ITERATIONS):
        return
    no_use = _no_use(algorithm, config, device)
    if no_use is not None:
        if choice is True:
            log.info("train.compile=true has no effect: %s", no_use)
        return
    reason = why_not_compiled()
    if reason is not None and choice is True:
        raise UserError(
            f"train.compile=true{set_by('train.compile')} is not possible: {reason}",
            "install g++, or set `train.compile=auto`.",
        )
    if reason is not None:
        log.info("using torch's operations, which are slower than compiled blocks: %s", reason)
        return
    set_compiled(algorithm, True)


def _no_use(algorithm: Algorithm, config: Config, device: torch.device) -> str | None:
    """Return why compiled code would not be used; None if it would."""
    if device.type != "cpu":
        return f"it is for device=cpu, not {device.type}"
    if config["precision"] == "bf16":
        return "it is for precision=float32 and float64"
    if not has_blocks(algorithm):
        return f"backbone={config['chosen']['backbone']} has no blocks that can be compiled"
    return None
