"""What tells runs apart, in as few words as will do: the keys of their rows first, then those of their configs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metarun.errors import printable
from metarun.results import checksums as sums
from metarun.results.records import Record
from metarun.system.parsing import parse_yaml
from metarun.system.paths import is_file

# In the order in which a reader would name them.
TELLING = (
    *("algo", "data", "test_data", "backbone", "test_way", "test_shot", "test_query", "way", "shot", "norm", "order"),
    *("transductive", "steps", "precision", "tf32", "deterministic", "test_tasks", "test_seed"),
    *("trained_algo", "seed"),
)
# What tells apart what not even configs do: which run a row of `metarun test` is of; code and files that configs name.
ORIGIN, CONTENT = "trained_by", "seedless_id"
SIZES = ["test_way", "test_shot"]
# How a value is written where its key would only be in the way.
WORDING = {
    **{"algo": "{}", "data": "{}", "test_data": "on {}", "backbone": "{}", "id": "{}", "trained_by": "of {}"},
    **{"test_way": "{}-way", "test_shot": "{}-shot", "way": "trained {}-way", "shot": "trained {}-shot"},
    **{"settings": "{}", "seed": "seed {}"},
}


def differences(
    records: Sequence[Record], given: Sequence[str] = (), averaged: Sequence[str] = ()
) -> tuple[list[Record], list[str]]:
    """Find keys that tell runs apart, none of which could be left away from the end.

    Args:
        records: of finished runs.
        given: keys that are told anyway, such as the axes of a plot.
        averaged: keys in which runs may differ and still be taken together, such as the seed.

    Returns:
        The records, with the settings of their `config.yaml` under dotted keys if rows alone do not tell them apart,
        and the keys; the last of them is the id where nothing else does.
    """
    keys = _that_split(records, given, [key for key in TELLING if key not in averaged])
    told = list(records)
    if _groups(told, [*given, *keys]) < len(told):
        told = with_settings(records)
        dotted = sorted({key for record in told for key in record if "." in key})
        keys += _that_split(told, [*given, *keys], dotted)
        keys += _that_split(told, [*given, *averaged, *keys], [ORIGIN])
        if all(CONTENT in record for record in told):  # rows of older versions are without it
            keys += _that_split(told, [*given, *keys], [CONTENT])
    if _groups(told, [*given, *keys, *averaged]) < len(told):
        keys.append("id")
    return told, keys


def with_panels(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Return the records with what tells the way x shot tables of a method apart as `settings`, and the tables' keys.

    Runs that differ in their seed alone belong to one table; so do other sizes, whatever a recipe sets for them.
    """
    data = _that_split(records, ["algo"], ["data", "test_data"])
    own = apart(records, ["algo", *data], averaged=["seed"], given=SIZES, with_ids=True)
    texts = [", ".join(filter(None, [label(record, data), text])) for record, text in zip(records, own, strict=True)]
    told = [{**record, "settings": text or None} for record, text in zip(records, texts, strict=True)]
    return told, ["algo", "settings"] if any(texts) else ["algo"]


def apart(
    records: Sequence[Record],
    alike: Sequence[str],
    averaged: Sequence[str] = (),
    given: Sequence[str] = (),
    with_ids: bool = False,
) -> list[str]:
    """Say of each run what tells it from those that have the same values for the keys in `alike`; "": nothing has to.

    `averaged` and `given` are what they are in `differences`; ids are told only where asked for.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(str(record.get(key)) for key in alike), []).append(record)
    texts: dict[int, str] = {}
    for group in groups.values():
        told, keys = differences(group, [*alike, *given], averaged) if len(group) > 1 else (group, [])
        own = [key for key in keys if with_ids or key != "id"]
        texts.update((id(record), label(each, own)) for record, each in zip(group, told, strict=True))
    return [texts[id(record)] for record in records]


def names(records: Sequence[Record], averaged: Sequence[str] = (), with_ids: bool = False) -> list[str]:
    """Name each run by its method and what tells it from others of that method: ``maml, 5-way, algo.inner_lr=0.1``."""
    told = zip(records, apart(records, ["algo"], averaged, with_ids=with_ids), strict=True)
    return [", ".join(filter(None, [record["algo"], text])) for record, text in told]


def label(record: Record, keys: Sequence[str]) -> str:
    """Write the values that a run has for some keys: ``maml, 5-way, algo.inner_lr=0.1``."""
    has = [key for key in keys if record.get(key) is not None]  # ProtoNet has no algo.inner_lr
    return ", ".join(_worded(key, _short(record[key])) for key in has)


def _worded(key: str, value: Any) -> str:
    return WORDING[key].format(value) if key in WORDING else f"{key}={value}"  # a key may have braces in it


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value  # a search has rates of seventeen digits


def with_settings(records: Sequence[Record]) -> list[Record]:
    """Return the records with the settings of their `config.yaml` under dotted keys."""
    return [{**_settings(record), **record} for record in records]


def _that_split(records: Sequence[Record], given: Sequence[str], candidates: Sequence[str]) -> list[str]:
    keys = list(given)
    for key in candidates:
        if key not in keys and _groups(records, [*keys, key]) > _groups(records, keys):
            keys.append(key)
    return keys[len(given) :]


def _groups(records: Sequence[Record], keys: Sequence[str]) -> int:
    return len({tuple(str(record.get(key)) for key in keys) for record in records})


def _settings(record: Record) -> dict[str, Any]:
    """The settings that can change a run's numbers, by dotted keys; those of a test after those of what it tests."""
    from metarun.config.run_id import ADDED_KEYS, EXCLUDED_FROM_ID  # Hydra, which few tables need

    config = _config(Path(record["path"]))
    trained = _config(Path(str(config["run"]))) if "run" in config else {}
    other = ("hydra.", "chosen.", *EXCLUDED_FROM_ID)
    given = [(key, value) for key, value in _dotted(config) if value is not None]  # null: as in the trained run
    usual = ADDED_KEYS.items() if config else ()
    return {
        key: value for key, value in [*usual, *_dotted(trained), *given] if "." in key and not key.startswith(other)
    }


def _config(run: Path) -> dict[str, Any]:
    """Read a run's `config.yaml`; empty without the file."""
    path = run / "config.yaml"
    try:
        content = path.read_bytes() if is_file(path) else b""
        sums.check(path, content)
        config = parse_yaml(content)
    except (OSError, ValueError):
        config = None
    return config if isinstance(config, dict) else {}


def _dotted(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            plain = value is None or isinstance(value, bool | int | float)
            yield printable(f"{prefix}{name}"), value if plain else printable(str(value))
