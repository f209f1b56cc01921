"""An exported model as a function of arrays."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Solve = Callable[[Array, Array, Array], Array]  # support_x, support_y, query_x → logits
OUTPUT = "logits"
