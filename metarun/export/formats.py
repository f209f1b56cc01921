"""The formats of `metarun export`, each a module that is imported when it is chosen."""

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from torch.export import ExportedProgram

from metarun.errors import UserError, did_you_mean
from metarun.export.model import Solve

FORMATS = {"onnx": "ONNX", "torch": "torch.export", "tensorflow": "TensorFlow SavedModel", "litert": "LiteRT (.tflite)"}


class Format(Protocol):
    """The interface of such a module.

    Attributes:
        FILE: the model's file or folder in the export.
        CALL: Python that loads the model from the current folder and calls it on the example; sets `logits`.
    """

    FILE: str
    CALL: str

    def check_installed(self) -> None:
        """Raise a UserError that names the extra if a package is missing."""

    def versions(self) -> dict[str, str]:
        """Return the version of each package that wrote and checked the file."""

    def write(self, program: ExportedProgram, folder: Path) -> None:
        """Write the model into a folder."""

    def load(self, folder: Path) -> Solve:
        """Return the stored model as a function of arrays."""


def find_format(name: str) -> Format:
    """Return the module of a format.

    Raises:
        UserError: there is no such format, or a package that it needs is missing.
    """
    if name not in FORMATS:
        raise UserError(f"format={name} is unknown.{did_you_mean(name, FORMATS)} Possible: {', '.join(FORMATS)}.")
    module = cast(Format, import_module(f"metarun.export.to_{name}"))
    module.check_installed()
    return module
