"""JSON and YAML that may come from anywhere, read to plain values: nothing in them is run, none grows on the way."""

import json
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from yaml import Node

LARGEST_YAML = 1 << 20  # bytes, for which yaml takes seconds


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
    """Return what a YAML document without aliases says; JSON, which is YAML too, is read faster.

    A few lines of aliases stand for a document without end.

    Raises:
        ValueError: it is none, in UTF-8, or a large one that is not JSON.
    """
    try:
        return parse_json(content)
    except ValueError:
        if len(content) > LARGEST_YAML:
            raise ValueError(f"{len(content):,} bytes are more than is read of YAML; write JSON") from None
    import yaml  # here because most commands read none

    class Plain(yaml.SafeLoader):
        def compose_node(self, parent: "Node | None", index: int) -> "Node | None":
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has an alias, which is not read; write it out")
            return super().compose_node(parent, index)

    try:
        return yaml.load(content.decode("utf-8"), Plain)  # a SafeLoader
    except RecursionError:
        raise ValueError("it nests too deep") from None
    except (yaml.YAMLError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
