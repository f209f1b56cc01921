"""The settings of a command or a call, as overrides that Hydra composes a config from."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from metarun.config.mixtures import with_mixtures
from metarun.config.quoting import quote_if_needed


def hydra_overrides(settings: Iterable[str], folders: Sequence[Path]) -> list[str]:
    """Return settings, such as "task.shot=5", in the form that Hydra takes.

    Args:
        settings: as a user writes them.
        folders: of the user, with YAML files of their own.

    Raises:
        UserError: a data set of a mixture does not exist, or is named twice.
    """
    plain = map(_list_trust, with_mixtures(settings, folders))
    return [quote_if_needed(_null_to_deletion(_quote_ids(each))) for each in plain]


def without_plus(override: str) -> str:
    """Turn +experiment=NAME into experiment=NAME: other Hydra programs need the plus sign."""
    return re.sub(r"^\+(algo|backbone|data|debug|experiment|logger)=", r"\1=", override)


def _quote_ids(override: str) -> str:
    """Quote the ids in run=…: Hydra would read 12e45678 as a number."""
    runs = re.fullmatch(r"run=([\w.,/ -]+)", override)
    return "run=" + ",".join(f"'{run}'" for run in runs[1].split(",")) if runs else override


def _list_trust(override: str) -> str:
    """Write trust=NAME as the list that it means; as it is, Hydra would complain of its type."""
    return re.sub(r"^trust=([^\[].*)", r"trust=[\1]", override)


def _null_to_deletion(override: str) -> str:
    """Turn recipe=null into ~recipe: on the command line, Hydra does not accept null for a group."""
    omitted = re.fullmatch(r"(recipe|experiment|local|debug|logger)=null", override)
    return f"~{omitted[1]}" if omitted else override
