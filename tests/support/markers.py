"""Parameters of which `make test` tries a few and `make test-slow` the others."""

from collections.abc import Iterable
from typing import Any

import pytest


def few_of(values: Iterable[Any], *few: Any) -> list[Any]:
    """Return the values as parameters, those besides `few` marked slow and sampled."""
    slow = [pytest.mark.slow, pytest.mark.sampled]
    arguments = [(value, value if isinstance(value, tuple) else (value,)) for value in values]
    return [pytest.param(*each, marks=() if value in few else slow) for value, each in arguments]
