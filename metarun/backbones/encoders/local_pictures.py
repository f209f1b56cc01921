"""Any network of timm, torchvision or Hugging Face as an encoder of pictures, from local files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.encoders.encoder import Encoder
from metarun.backbones.encoders.files import find, hash_of, json_object, state_dict
from metarun.backbones.encoders.hugging_face import CONFIG, load_model
from metarun.errors import UserError, did_you_mean, reason_of
from metarun.system.inputs import Inputs
from metarun.system.paths import PathText, is_folder

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which most networks take
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # of a folder of timm
_IMAGENET = {1_000: "ImageNet-1k", 21_841: "ImageNet-21k", 21_843: "ImageNet-21k", 11_821: "ImageNet-12k"}


@dataclass(frozen=True)
class _Found:
    """A network without its classifier, and what it was trained with."""

    network: nn.Module
    mean: Sequence[float]
    deviation: Sequence[float]
    classes: int | None = None


class LocalPictures(Encoder):
    """The pooled features of a network of timm, torchvision or Hugging Face's transformers, of length 1.

    Nothing is downloaded, and no code in a folder is run.

    Args:
        weights: a Hugging Face folder with config.json and safetensors, of timm or of transformers; or a file of
            weights, safetensors or of `torch.save` without any code, with `architecture`.
        architecture: "timm/NAME" or "torchvision/NAME"; None: what config.json says.
        size: pixels of a side that pictures are resized to.
        saw: on what it was trained, for tables; None: ImageNet where it has as many classes, or else unknown.

    Raises:
        UserError: a package is missing, there are no weights, the architecture is unknown, or they do not fit.
    """

    reads = "pictures"

    def __init__(
        self, weights: PathText | None, architecture: str | None = None, size: int = 224, saw: str | None = None
    ) -> None:
        super().__init__()
        path = find(weights, "backbone.encoder.weights")
        found = _load(path, architecture)
        self.network, self.size = found.network.eval(), size
        self.mean, self.deviation = (nn.Buffer(_channels(each)) for each in (found.mean, found.deviation))
        try:
            self.features = int(self.network(self.mean.new_zeros(1, 3, size, size)).shape[1])
        except Exception as error:  # networks raise many types
            raise UserError(
                f"the network of {path} fails on pictures of {size} pixels ({reason_of(error)[:200]})",
                "set `backbone.encoder.size` to what it was trained with.",
            ) from error
        self.saw = saw or _IMAGENET.get(found.classes or 0, "unknown")
        self.hash = hash_of("LocalPictures", {"weights": path}, {"architecture": architecture, "size": size})

    def forward(self, x: Inputs) -> Tensor:
        """Map pictures (n, 1 or 3, height, width) in [0, 1] to (n, features)."""
        assert isinstance(x, Tensor)
        x = x.expand(-1, 3, -1, -1)
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return F.normalize(self.network((x - self.mean) / self.deviation), dim=-1)


def _channels(values: Sequence[float]) -> Tensor:
    return Tensor([*values])[:, None, None]


def _load(path: Path, architecture: str | None) -> _Found:
    file, mean, deviation = path, _MEAN, _DEVIATION
    if is_folder(path):
        if not (path / CONFIG).is_file():
            raise UserError(
                f"{path} has no {CONFIG}", "name a Hugging Face folder, or a file and `backbone.encoder.architecture`."
            )
        config = json_object((path / CONFIG).read_bytes(), f"{path}: {CONFIG}")
        if "architecture" not in config:
            return _of_transformers(path)
        own = config.get("pretrained_cfg", {})
        mean, deviation = own.get("mean", mean), own.get("std", deviation)
        architecture = architecture or f"timm/{config['architecture']}"
        there = [path / name for name in _WEIGHTS if (path / name).is_file()]
        if not there:
            raise UserError(f"{path} has no weights", f"a folder of timm needs {_WEIGHTS[0]}.")
        file = there[0]
    library, _, name = (architecture or "").partition("/")
    makers = {"timm": _timm, "torchvision": _torchvision}
    if library not in makers or not name:
        raise UserError(
            f"backbone.encoder.architecture={architecture} does not say which network the weights in {file} are for",
            "set it to timm/NAME or torchvision/NAME, such as timm/resnet18.",
        )
    weights = {name: each for name, each in state_dict(file).items() if isinstance(each, Tensor)}
    network, classifier = makers[library](name)
    classes = next((len(each) for name, each in weights.items() if name.startswith(f"{classifier}.")), None)
    try:
        missing, strange = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise UserError(
            f"{file} has no weights of {architecture} ({reason_of(error)[:200]})", "name another."
        ) from error
    strange = [each for each in strange if not each.startswith(f"{classifier}.")]
    if wrong := [*missing, *strange]:
        what = "lacks" if missing else "has an unknown"
        raise UserError(f"{file} has no weights of {architecture}: it {what} {wrong[0]}", "name another.")
    return _Found(network, mean, deviation, classes)


def _timm(name: str) -> tuple[nn.Module, str]:
    """Return a network of timm without its classifier, and the classifier's name."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise _missing("timm", "metarun[timm]", error) from error
    if not timm.is_model(name):
        raise UserError(f"timm has no network {name}.{did_you_mean(name, timm.list_models())}")
    network: Any = timm.create_model(name, pretrained=False, num_classes=0)
    return network, str(network.default_cfg.get("classifier") or "head")


def _torchvision(name: str) -> tuple[nn.Module, str]:
    """Return a network of torchvision without its classifier, and the classifier's name."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        raise _missing("torchvision", "torchvision", error) from error
    known = models.list_models(module=models)
    if name not in known:
        raise UserError(f"torchvision has no network {name}.{did_you_mean(name, known)}")
    network: nn.Module = models.get_model(name, weights=None)
    classifier = [each for each, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    parent, _, last = classifier.rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return network, classifier


def _missing(library: str, install: str, error: Exception) -> UserError:
    """Return the error for a library that is not installed, or is built for another torch."""
    problem = f"backbone.encoder.architecture={library}/… needs the package {library}"
    if isinstance(error, ImportError):
        return UserError(problem, f"pip install '{install}'.")
    return UserError(
        f"{problem}, which fails ({reason_of(error)})", "install the torchvision of your version of torch."
    )


def _of_transformers(path: Path) -> _Found:
    model, config = load_model(path)
    about = path / "preprocessor_config.json"
    scale = json_object(about.read_bytes(), str(about)) if about.is_file() else {}
    mean, deviation = scale.get("image_mean", _MEAN), scale.get("image_std", _DEVIATION)
    return _Found(_Pooled(model), mean, deviation, len(config.get("id2label", ())) or None)


class _Pooled(nn.Module):
    """The pooled output of a model of transformers or, without one, the mean of its last states."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        found = self.model(pixel_values=x)
        pooled: Tensor | None = getattr(found, "pooler_output", None)
        states: Tensor = found.last_hidden_state
        if pooled is not None:
            return pooled.flatten(1)
        return states.mean(1) if states.ndim == 3 else states.mean((-2, -1))
