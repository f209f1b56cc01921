"""Parse untrusted JSON and YAML to plain values, without running code or expanding aliases."""

import json
from typing import Any, NoReturn

import yaml

LARGEST_YAML = 1 << 22  # bytes; yaml takes seconds for them
_MAX_DEPTH = 100  # nested lists and mappings
_MAX_DIGITS = 100

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # seven times as fast, if available


def parse_json(content: bytes) -> object:
    """Parse a JSON document.

    Raises:
        ValueError: it is not valid JSON in UTF-8; NaN and Infinity are not valid.
    """
    try:
        return _JSON.decode(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_yaml(content: bytes) -> object:
    """Parse a YAML document; JSON, which is also YAML, is parsed faster.

    Raises:
        ValueError: it is not valid YAML in UTF-8, has an alias, or is large and not JSON.
    """
    try:
        return parse_json(content)
    except ValueError:
        if len(content) > LARGEST_YAML:
            raise ValueError(f"{len(content):,} bytes are too many for YAML; use JSON") from None
    try:
        text = content.decode("utf-8")
        _check_structure(text)
        return yaml.load(text, _Plain)  # noqa: S506, a safe loader
    except (yaml.YAMLError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _check_structure(text: str) -> None:
    """Reject aliases, which can expand without limit, and documents that are nested too deeply."""
    depth = 0
    for event in yaml.parse(text, _Safe):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has an alias, which is not supported; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")


class _Plain(_Safe):  # type: ignore[misc]  # one of two classes
    """Rejects very long numbers, for which Python can take minutes."""

    def construct_short_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _MAX_DIGITS:
            raise yaml.YAMLError(f"it has a number of {len(node.value):,} digits")
        number: int = self.construct_yaml_int(node)
        return number


_Plain.add_constructor("tag:yaml.org,2002:int", _Plain.construct_short_int)


def _reject_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not valid JSON")


_JSON = json.JSONDecoder(parse_constant=_reject_constant)  # made once: `json.loads` makes one for each document
