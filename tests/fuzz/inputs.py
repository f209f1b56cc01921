"""The number of inputs per property: a few in `make test`, a share of FUZZ_INPUTS in `make fuzz`."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

ALL = int(os.environ.get("FUZZ_INPUTS", "10000"))  # in the slow tier, over all properties
FEW = 0.02  # the fraction of them in the fast tier

tiers = pytest.mark.parametrize("tier", ["few", pytest.param("many", marks=pytest.mark.slow)])


def try_inputs(tier: str, share: float, prop: Callable[..., None], **strategies: SearchStrategy[Any]) -> None:
    """Check a property.

    Args:
        tier: "few" or "many".
        share: of all inputs for this property; the shares of all properties add up to 1.
        prop: raises if the property does not hold.
        strategies: of its arguments.
    """
    count = max(3, round(ALL * share * (FEW if tier == "few" else 1)))
    settings(
        max_examples=count,
        derandomize=tier == "few"
        or "CI" in os.environ
        or "FUZZ_INPUTS" not in os.environ,  # `make fuzz` uses random ones
        database=None,  # it would be in the folder where pytest is started
        deadline=None,  # `watched` has a time limit
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )(given(**strategies)(prop))()
