"""The search space: Hydra's sweep overrides as Optuna distributions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from metarun.errors import UserError, reason_of


@dataclass(frozen=True)
class Space:
    """A search space: the overrides that all trials share, and the distribution of each key to search."""

    fixed: list[str]
    free: dict[str, BaseDistribution]

    @classmethod
    def of(cls, overrides: Sequence[str], loader: ConfigLoader) -> "Space":
        """Parse the overrides of a command.

        Raises:
            UserError: there is nothing to search, or a range is invalid.
        """
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        free = {each.get_key_element(): _distribution(each) for each in parsed if each.is_sweep_override()}
        if not free:
            raise UserError(
                "there is nothing to search",
                "give a key several values or a range, such as 'algo.inner_lr=tag(log,interval(1e-3,1))'.",
            )
        return cls([str(each.input_line) for each in parsed if not each.is_sweep_override()], free)

    def overrides(self, values: dict[str, Any]) -> list[str]:
        """Return the overrides of a run with these values."""
        return [*self.fixed, *to_overrides(values)]


def to_overrides(values: dict[str, Any]) -> list[str]:
    """Write values as overrides that Hydra parses back to the same values."""
    return [f"{key}={value if isinstance(value, str) else repr(value)}" for key, value in values.items()]


def _distribution(override: Override) -> BaseDistribution:
    value = override.value()
    try:
        if isinstance(value, IntervalSweep):
            log = "log" in value.tags
            if isinstance(value.start, int) and isinstance(value.end, int):
                return IntDistribution(value.start, value.end, log=log)
            return FloatDistribution(float(value.start or 0), float(value.end or 0), log=log)
        if isinstance(value, RangeSweep) and all(isinstance(each, int) for each in (value.start, value.step)):
            numbers = [int(each) for each in value.range()]
            return IntDistribution(numbers[0], numbers[-1], step=max(1, abs(int(value.step))))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, IndexError) as error:
        raise UserError(f"{override.input_line} cannot be searched: {reason_of(error)}") from error
