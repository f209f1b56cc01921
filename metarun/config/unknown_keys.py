"""Keys that the schema of a config does not have, and what to write instead."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

from metarun.config.schema import Config, RetestConfig, RunConfig
from metarun.errors import did_you_mean

OPEN_GROUPS = ("algo", "backbone", "data", "logger", "hydra")  # a class decides which keys it takes
SCHEMAS = {"train": RunConfig, "test": RetestConfig}  # by command
# What the names of other programs' settings are called here.
MEANT = {
    **dict.fromkeys(("lr", "learning_rate"), ("train.outer_lr", "algo.inner_lr")),
    **dict.fromkeys(("epochs", "num_iterations"), ("train.iterations",)),
    **dict.fromkeys(("batch_size", "meta_batch_size"), ("train.meta_batch",)),
    **dict.fromkeys(("ways", "n_way"), ("task.way",)),
    **dict.fromkeys(("shots", "k_shot"), ("task.shot",)),
    **dict.fromkeys(("queries", "n_query"), ("task.query",)),
    "optimizer": ("train.outer_optimizer",),
}


def unknown_keys(config: Mapping[Any, Any], schema: type, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a config that its schema does not have."""
    inner = _fields(schema)
    for name, value in config.items():
        if name not in inner:
            yield f"{prefix}{name}"
        elif (nested := inner[name]) is not None and isinstance(value, Mapping):
            yield from unknown_keys(value, nested, f"{prefix}{name}.")


def has_key(schema: type, key: str) -> bool:
    """Whether a schema has a dotted key; not those that a class decides on, such as `algo.inner_lr`."""
    name, _, rest = key.partition(".")
    nested = (inner := _fields(schema)).get(name)
    return name in inner and (not rest or (nested is not None and has_key(nested, rest)))


def known_part(config: Mapping[Any, Any], schema: type) -> Config:
    """Return a config without the keys that its schema does not have."""
    inner = _fields(schema)
    return {
        name: known_part(value, nested) if (nested := inner[name]) and isinstance(value, Mapping) else value
        for name, value in config.items()
        if name in inner
    }


def _fields(schema: type) -> dict[str, type | None]:
    """Return the fields of a schema, each with its own schema; None if it may have any keys."""
    hints = get_type_hints(schema)
    return {
        name: next((kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and is_dataclass(kind)), None)
        for name, hint in hints.items()
    }


def describe_unknown_key(key: str, known: Sequence[str]) -> str:
    """Return the message for an unknown key, with the closest of those that are known."""
    if key in MEANT:
        return f"unknown key {key!r}. Did you mean {' or '.join(map(repr, MEANT[key]))}?"
    leaf = key.rpartition(".")[2]
    same_leaf = [each for each in known if each.rpartition(".")[2] == leaf]  # inner_lr= for algo.inner_lr=
    meant = f" Did you mean '{same_leaf[0]}'?" if same_leaf else ""
    for command, schema in SCHEMAS.items():
        if has_key(schema, key):
            return f"unknown key {key!r}: only `metarun {command}` has it.{meant}"
    hint = meant or did_you_mean(key, known)
    new = f"; +{key}=… adds a new one" if key.partition(".")[0] in OPEN_GROUPS else ""
    return f"unknown key {key!r}.{hint} --cfg job shows every key{new}."
