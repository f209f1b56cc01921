"""The `key=value` words of the commands that do not use Hydra."""

from collections.abc import Sequence

from metarun.errors import UserError

_VALUES = {"run": "RUN", "support": "FOLDER", "query": "FOLDER", "format": "FORMAT"}


def read_settings(words: Sequence[str], keys: Sequence[str], command: str) -> dict[str, str]:
    """Return `key=value` words as a dictionary that has all of `keys`.

    Raises:
        UserError: a word is not one of these settings, or a key is missing.
    """
    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in keys:
            *most, last = (f"{key}={_VALUES[key]}" for key in keys)
            raise UserError(f"{word!r} is not {', '.join(most)} or {last}", f"see `metarun {command} --help`.")
        settings[key] = value
    if missing := [key for key in keys if key not in settings]:
        raise UserError(f"{missing[0]}= is required", f"see `metarun {command} --help`.")
    return settings
