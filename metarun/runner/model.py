"""Build the method and its network from a resolved config, and check that they fit the data."""

from typing import Any

import torch
from torch import nn

from metarun.algorithms import Algorithm, Method, PolicyMethod, to_channels_last
from metarun.backbones import compute_in_bfloat16
from metarun.backbones.frozen import omit_frozen_weights
from metarun.config.instantiate import build, takes
from metarun.config.key_origins import set_by, source_key
from metarun.config.run_id import declared_paths
from metarun.config.schema import Config
from metarun.errors import UserError
from metarun.rl.stream import EnvironmentSource
from metarun.runner.data_loading import wrong_type_error
from metarun.runner.encoding import is_frozen
from metarun.runner.memory_check import check_network_fits
from metarun.system.ranges import is_range
from metarun.tasks.augmentation import augmentations, suitable
from metarun.tasks.augmentation.stream import Augmentation
from metarun.tasks.source import TaskSource
from metarun.tasks.vectorize import check_how

_SUGGESTED = {"classification": "maml does both", "regression": "maml does both", "reinforcement learning": "maml_rl"}


def build_method(config: Config, source: TaskSource, device: torch.device, dtype: torch.dtype) -> Method:
    """Return the method with its backbone, initialised with `seed`.

    Args:
        config: the resolved config.
        source: of the tasks, which decides the shape of the inputs and the number of outputs.
        device: where the weights are.
        dtype: of the weights.

    Raises:
        UserError: the config is invalid, the network does not fit in memory, or the method is not for such data.
    """
    if not 0 <= config["seed"] < 2**63:
        setting = f"seed={config['seed']}{set_by('seed')}"
        raise UserError(f"{setting} but it must be from 0 to 2^63 - 1", "choose another `seed`.")
    check_network_fits(lambda: _build(config, source))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])
        algorithm = _build(config, source)
    if source.kind not in algorithm.solves:
        raise UserError(
            f"algo={config['chosen']['algo']} is for {' and '.join(algorithm.solves)} but data={source.name} is "
            f"{source.kind}",
            f"choose another `algo` ({_SUGGESTED[source.kind]}) or another `data`.",
        )
    return to_channels_last(algorithm.to(device, dtype))


def _build(config: Config, source: TaskSource) -> Method:
    outputs = config["algo"].get("outputs")
    if is_range(outputs):
        raise UserError(
            f"algo.outputs={outputs}{set_by('algo.outputs')} but {config['chosen']['algo']} has a head of one size",
            f"set `{source_key('algo.outputs')}` to a number, or use a method without a fixed head, such as protonet.",
        )
    if isinstance(outputs, int) and outputs < 1:
        setting = f"algo.outputs={outputs}{set_by('algo.outputs')}"
        raise UserError(f"{setting} but it must be at least 1", "omit it to use the way of the tasks.")
    backbone = _build_backbone(config, source)
    has_argument = takes("algo", config["algo"], "over_tasks")
    node = {key: value for key, value in config["algo"].items() if key != "over_tasks" or has_argument}
    if source.outputs is not None and outputs == 1:
        node["outputs"] = source.outputs  # the way of tasks is 1 in regression; a head has an output for each target
    given = _arguments_from_data(config, source)
    if "augment" in node:
        given["augment"] = _changes_in_tasks(node.pop("augment"), source)
    algorithm: Method = build("algo", node, backbone=backbone, **given)
    if not isinstance(algorithm, Algorithm | PolicyMethod):
        raise wrong_type_error("algo", config["algo"]["_target_"], algorithm, "metarun.algorithms.Algorithm")
    if not has_argument:
        _set_execution(algorithm, config)
    return algorithm


def _build_backbone(config: Config, source: TaskSource) -> nn.Module:
    node = config["backbone"]
    if is_frozen(node):
        node = {**node, "encoder": None}  # the examples are its vectors
    backbone = build("backbone", node, **_inputs(config, source))
    if not (isinstance(backbone, nn.Module) and hasattr(backbone, "features")):
        raise wrong_type_error("backbone", node["_target_"], backbone, "torch.nn.Module with `features`")
    if declared_paths(node):
        omit_frozen_weights(backbone)
    if config["precision"] == "bf16":
        compute_in_bfloat16(backbone)
    return backbone


def _inputs(config: Config, source: TaskSource) -> dict[str, Any]:
    """Return the argument for a backbone: the fields of an example if it takes `inputs`, else its shape."""
    inputs = source.inputs
    if takes("backbone", config["backbone"], "inputs"):
        return {"inputs": inputs}
    if len(inputs) > 1 or any(spec.kind in ("ids", "mask") for spec in inputs.values()):
        fields = ", ".join(f"{name} ({spec.kind})" for name, spec in inputs.items())
        raise UserError(
            f"backbone={config['chosen']['backbone']} takes one array of numbers but an example of "
            f"data={source.name} has the fields {fields}",
            "use a backbone whose constructor takes `inputs`.",
        )
    return {"input_shape": next(iter(inputs.values())).shape}


def _arguments_from_data(config: Config, source: TaskSource) -> dict[str, Any]:
    """Return the arguments for a method that only the data know, unless the config sets them."""
    node = config["algo"]
    known = ("floor_vectors", "train_classes", "actions")
    needed = [name for name in known if takes("algo", node, name) and name not in node]
    arguments: dict[str, Any] = {}
    if "actions" in needed:
        if not isinstance(source, EnvironmentSource):
            raise UserError(
                f"algo={config['chosen']['algo']} learns to act but data={source.name} has no environments",
                "choose data=navigation2d, or another `algo` (maml).",
            )
        arguments["actions"] = source.actions
    if "floor_vectors" in needed:
        arguments["floor_vectors"] = source.floor_vectors
    if "train_classes" in needed:
        if source.train_classes is None:
            raise UserError(
                f"algo={config['chosen']['algo']} classifies the meta-train classes but data={source.name} is "
                "regression and has none",
                "choose another `algo` (maml) or another `data`.",
            )
        arguments["train_classes"] = source.train_classes
    return arguments


def _changes_in_tasks(asked: object, source: TaskSource) -> dict[str, Augmentation]:
    """Return the changes that `algo.augment` names; "auto": those that suit such examples, if there are any."""
    preset = suitable(source.inputs, of_photos="photo") if asked == "auto" else asked
    return augmentations(preset, source.inputs, source.name, "algo.augment")


def _set_execution(algorithm: Method, config: Config) -> None:
    """Set how tasks are run, unless the method supports only one way."""
    # Configs stored by earlier versions have this key among the method's arguments.
    how = config["algo"].get("over_tasks", config["train"].get("over_tasks", "auto"))
    check_how(how)
    if isinstance(algorithm, PolicyMethod):
        return  # it acts in all tasks at once, whatever the key says
    if algorithm.how == "auto":
        algorithm.how = how
    elif how not in ("auto", algorithm.how):
        does = "loop over tasks" if algorithm.how == "loop" else "take all tasks at once"
        raise UserError(
            f"train.over_tasks={how} but {type(algorithm).__name__} can only {does}",
            f"set `train.over_tasks={algorithm.how}`, or choose another method, such as algo=maml.",
        )
