"""What was found in a user's own files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Found:
    """One example as it was found.

    Args:
        name: its file, or the file and line of its row: "flowers.csv:7".
        label: its class, or its entity in regression; None: it is not known.
        error: why it cannot be an input; "": it can.
        text: of a text.
    """

    name: str
    label: str | None
    error: str = ""
    text: str = ""


@dataclass(frozen=True)
class Examples:
    """The examples of a folder, a zip, a file or a table.

    Args:
        noun: what one is called: "picture".
        found: all of them, in order.
        values: (decoded, *shape) the inputs of those without an error, for `Run.adapt` and `Learner.predict`.
        targets: (decoded, outputs) the numbers to predict, scaled as in training, NaN where they are not known; None in
            classification, and if there are none.
        skipped: a clause on files that are no examples; "": there are none.
    """

    noun: str
    found: Sequence[Found]
    values: NDArray[Any]
    targets: NDArray[np.float32] | None = None
    skipped: str = ""

    @property
    def decoded(self) -> list[Found]:
        """Those of `values`, in order."""
        return [each for each in self.found if not each.error]

    @property
    def labels(self) -> list[str | None]:
        """The class of each of `values`; None: it is not known."""
        return [each.label for each in self.decoded]
