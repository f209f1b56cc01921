"""Whether meta-training steps are replayed as CUDA graphs: `train.cuda_graph`."""

import torch

from metarun.algorithms import Method, PolicyMethod
from metarun.config.key_origins import set_by
from metarun.config.schema import Config
from metarun.errors import UserError
from metarun.training.cuda_graph import CudaGraphs, Recorder


def find_recorder(method: Method, config: Config, device: torch.device) -> Recorder | None:
    """Return what records the steps of a method; None if each is to be computed anew.

    Raises:
        UserError: `train.cuda_graph` is invalid, or true where there is nothing to record.
    """
    choice = config["train"].get("cuda_graph", False)  # missing in runs of earlier versions
    if not isinstance(choice, bool):
        raise UserError(f"train.cuda_graph='{choice}'{set_by('train.cuda_graph')} is not one of true, false.")
    if not choice:
        return None
    asked, remedy = f"train.cuda_graph=true{set_by('train.cuda_graph')}", "set `train.cuda_graph=false`"
    if device.type != "cuda":
        raise UserError(f"{asked} needs a GPU but device={device.type}", f"{remedy}, or `device=cuda`.")
    if isinstance(method, PolicyMethod):
        name = config["chosen"]["algo"]
        raise UserError(f"{asked} records the gradient of a loss, which algo={name} does not have", f"{remedy}.")
    return CudaGraphs(device)
