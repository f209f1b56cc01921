"""Passwords and tokens: refused on the command line, masked in everything that is written."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metarun.errors import UserError

MASK = "***"
MIN_LENGTH = 8  # characters; shorter secrets would match ordinary text

# How names of keys and environment variables with a secret end: WANDB_API_KEY, logger.mine.api_key.
_NAME = re.compile(r"(?:^|[._])(?:api_?key|access_key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")  # https://user:password@host


def refuse_secrets(words: Iterable[str]) -> None:
    """Raise a UserError if an argument contains a secret instead of a variable, `${oc.env:…}`."""
    for word in words:
        key, _, value = word.partition("=")
        named = bool(_NAME.search(key)) and len(value) >= MIN_LENGTH and "${" not in value
        if named or masked(word) != word:
            raise UserError(
                f"{key}=… contains a password or token, which other users could read on the command line",
                f"set an environment variable, such as MY_TOKEN, and use '{key}=${{oc.env:MY_TOKEN}}'.",
            )


def masked(value: Any, key: str = "") -> Any:
    """Return a text, or all texts of a config, with secrets replaced by `***`.

    Secrets are the user and password of a URL, and the values of environment variables and keys named like a secret.
    """
    if isinstance(value, Mapping):
        return {name: masked(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, key) for item in value]
    if not isinstance(value, str):
        return value
    if _NAME.search(key) and len(value) >= MIN_LENGTH:
        return MASK
    for secret in _environment_secrets():
        value = value.replace(secret, MASK)
    return _IN_URL.sub(MASK, value)


def mask_file(path: Path) -> None:
    """Mask a YAML file written by other code, such as Hydra's config of a sweep; it may be missing."""
    import yaml

    if path.is_file():
        content = yaml.safe_load(path.read_text())
        if masked(content) != content:
            path.write_text(yaml.safe_dump(masked(content), sort_keys=False))


def _environment_secrets() -> list[str]:
    """The secrets in environment variables, longest first, since one may start with another."""
    named = {value for name, value in os.environ.items() if _NAME.search(name) and len(value) >= MIN_LENGTH}
    return sorted((value for value in named if not value.startswith("/")), key=len, reverse=True)  # not paths
