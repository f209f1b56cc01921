"""How a user's own files become examples like those of a data set, as plain values that can be stored."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["pictures", "sounds", "texts", "rows"]
_NAME = "encoding"  # of the arrays in a file


@dataclass(frozen=True)
class Encoding:
    """Settings, and what was learned from the meta-train examples; `metarun.data.encoders` applies it.

    Args:
        kind: of the files.
        settings: of plain values, as JSON has them.
        arrays: by name.
    """

    kind: Kind
    settings: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays for `np.savez`, which `from_arrays` reads."""
        about = json.dumps({"kind": self.kind, "settings": self.settings}, sort_keys=True)
        return {_NAME: np.array(about), **{f"{_NAME}.{name}": array for name, array in self.arrays.items()}}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> Self | None:
        """Return what `to_arrays` stored, among other arrays; None if it is not among them.

        Raises:
            ValueError: it is damaged.
        """
        if _NAME not in stored:
            return None
        about = json.loads(str(stored[_NAME]))
        if not isinstance(about, dict) or about.get("kind") not in get_args(Kind):
            raise ValueError("its encoding is of no known kind")
        names = [name for name in stored if name.startswith(f"{_NAME}.")]
        return cls(about["kind"], about["settings"], {name.partition(".")[2]: stored[name] for name in names})
