"""Passwords and tokens: refused on the command line, masked wherever something is written that may stay."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metarun.errors import UserError

MASK = "***"
SHORTEST = 8  # characters of a secret; what is shorter would be found in innocent text

# How the name of a key or of an environment variable ends that holds one: WANDB_API_KEY, logger.mine.api_key.
_NAME = re.compile(r"(?:^|[._])(?:api_?key|access_key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")  # https://user:password@host


def refuse_typed(words: Iterable[str]) -> None:
    """Raise a UserError where a word of the command holds a secret, and does not name a variable, `${oc.env:…}`."""
    for word in words:
        key, _, value = word.partition("=")
        named = bool(_NAME.search(key)) and len(value) >= SHORTEST and "${" not in value
        if named or masked(word) != word:
            raise UserError(
                f"{key}=… holds a password or token; on the command line other users can read it, and what a run "
                f"writes would keep it; set an environment variable, MY_TOKEN, and say '{key}=${{oc.env:MY_TOKEN}}'."
            )


def masked(value: Any, key: str = "") -> Any:
    """Return a text, or a config with all its texts, with `***` where a secret stood.

    What counts: the user and password of a URL, the value of an environment variable that has the name of a secret, and
    the value of a key that has.
    """
    if isinstance(value, Mapping):
        return {name: masked(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, key) for item in value]
    if not isinstance(value, str):
        return value
    if _NAME.search(key) and len(value) >= SHORTEST:
        return MASK
    for secret in _of_environment():
        value = value.replace(secret, MASK)
    return _IN_URL.sub(MASK, value)


def mask_file(path: Path) -> None:
    """Mask a YAML file that somebody else writes, as Hydra does the config of a sweep; it need not be there."""
    import yaml

    if path.is_file():
        content = yaml.safe_load(path.read_text())
        if masked(content) != content:
            path.write_text(yaml.safe_dump(masked(content), sort_keys=False))


def _of_environment() -> list[str]:
    """The secrets in environment variables, longest first: one may begin with another."""
    named = {value for name, value in os.environ.items() if _NAME.search(name) and len(value) >= SHORTEST}
    return sorted(
        (value for value in named if not value.startswith("/")), key=len, reverse=True
    )  # a path to one is none
