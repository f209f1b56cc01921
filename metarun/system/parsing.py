"""JSON and YAML that may come from anywhere, read to plain values: nothing in them is run, none grows on the way."""

import json
from typing import Any, NoReturn

import yaml

LARGEST_YAML = 1 << 22  # bytes, for which yaml takes seconds
_DEEPEST = 100  # lists and mappings within each other
_LONGEST_NUMBER = 100  # characters

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # seven times as fast, where it was built


def parse_json(content: bytes) -> object:
    """Return what a JSON document says.

    Raises:
        ValueError: it is none, in UTF-8; NaN and Infinity are no JSON.
    """
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def parse_yaml(content: bytes) -> object:
    """Return what a YAML document says; JSON, which is YAML too, is read faster.

    Raises:
        ValueError: it is none, in UTF-8, it has an alias, or it is a large one that is not JSON.
    """
    try:
        return parse_json(content)
    except ValueError:
        if len(content) > LARGEST_YAML:
            raise ValueError(f"{len(content):,} bytes are more than is read of YAML; write JSON") from None
    try:
        text = content.decode("utf-8")
        _check_that_it_stays_small(text)
        return yaml.load(text, _Plain)  # noqa: S506, a safe one
    except (yaml.YAMLError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _check_that_it_stays_small(text: str) -> None:
    """Refuse aliases, a few lines of which stand for a document without end, and what nests too deep to be read."""
    depth = 0
    for event in yaml.parse(text, _Safe):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has an alias, which is not read; write it out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError("it nests too deep")


class _Plain(_Safe):  # type: ignore[misc]  # one of two classes
    """Reads no number that nobody would write: there are notations in which Python takes minutes for one."""

    def construct_short_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _LONGEST_NUMBER:
            raise yaml.YAMLError(f"it has a number of {len(node.value):,} digits")
        number: int = self.construct_yaml_int(node)
        return number


_Plain.add_constructor("tag:yaml.org,2002:int", _Plain.construct_short_int)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
