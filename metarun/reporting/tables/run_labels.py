"""Label runs by the few keys that distinguish them: keys of their rows first, then keys of their configs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metarun.config.identity_keys import ADDED_KEYS, EXCLUDED_FROM_ID
from metarun.config.values import dotted
from metarun.errors import printable
from metarun.results import checksums as sums
from metarun.results.records import Record
from metarun.results.settings import DRAWN, WORDS
from metarun.system.parsing import parse_yaml
from metarun.system.paths import is_file

# Keys of rows, in the order in which labels use them.
ROW_KEYS = (
    *("algo", "data", "test_data", "backbone", "test_way", "test_shot", *DRAWN, "test_query", "way", "shot", *WORDS),
    *("norm", "order", "transductive", "steps", "precision", "tf32", "deterministic", "test_tasks"),
    *("test_seed", "trained_algo", "seed"),
)
# Used if configs do not distinguish runs: the trained run of a row of `metarun test`; code and files of a config.
ORIGIN, CONTENT = "trained_by", "seedless_id"
# Settings that change no number.
NOT_COMPARED = ("hydra", "paper_backbone", "results_dir", "force", "retry_failed", "logger")
SIZES = ["test_way", "test_shot"]
# How a value is written in a label; other keys are written as key=value.
WORDING = {
    **{"algo": "{}", "data": "{}", "test_data": "on {}", "backbone": "{}", "id": "{}", "trained_by": "of {}"},
    **{"test_way": "{}-way", "test_shot": "{}-shot", "way": "trained {}-way", "shot": "trained {}-shot"},
    **{f"test_{key}": f"{how} {{}}" for key, how in WORDS.items()},
    **{key: f"trained {how} {{}}" for key, how in WORDS.items()},
    **{"settings": "{}", "seed": "seed {}"},
}


def distinguishing_keys(
    records: Sequence[Record], given: Sequence[str] = (), averaged: Sequence[str] = ()
) -> tuple[list[Record], list[str]]:
    """Find few keys that distinguish runs.

    Args:
        records: of finished runs.
        given: keys that are shown anyway, such as the axes of a plot.
        averaged: keys that runs are averaged over, such as the seed.

    Returns:
        The records, with the settings of their `config.yaml` under dotted keys if their rows do not distinguish them,
        and the keys; the last of them is the id if nothing else distinguishes the runs.
    """
    keys = _that_split(records, given, [key for key in ROW_KEYS if key not in averaged])
    labelled = list(records)
    if _groups(labelled, [*given, *keys]) < len(labelled):
        labelled = with_settings(records)
        dotted = sorted({key for record in labelled for key in record if "." in key})
        keys += _that_split(labelled, [*given, *keys], dotted)
        keys += _that_split(labelled, [*given, *averaged, *keys], [ORIGIN])
        if all(CONTENT in record for record in labelled):  # missing in rows of older versions
            keys += _that_split(labelled, [*given, *keys], [CONTENT])
    if _groups(labelled, [*given, *keys, *averaged]) < len(labelled):
        keys.append("id")
    return labelled, keys


def with_panels(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Assign each record to a way x shot panel; return the records with `settings`, and the keys of the panels.

    A panel is a method with its settings, over all seeds and task sizes, including what a recipe sets per size.
    """
    data = _that_split(records, ["algo"], ["data", "test_data"])
    own = distinguishing_labels(records, ["algo", *data], averaged=["seed"], given=SIZES, with_ids=True)
    texts = [", ".join(filter(None, [label(record, data), text])) for record, text in zip(records, own, strict=True)]
    labelled = [{**record, "settings": text or None} for record, text in zip(records, texts, strict=True)]
    return labelled, ["algo", "settings"] if any(texts) else ["algo"]


def distinguishing_labels(
    records: Sequence[Record],
    shared: Sequence[str],
    averaged: Sequence[str] = (),
    given: Sequence[str] = (),
    with_ids: bool = False,
) -> list[str]:
    """Label each run by what distinguishes it from runs with the same values of the keys in `shared`; "" if unique.

    `averaged` and `given` are those of `distinguishing_keys`; ids are only used if `with_ids`.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(str(record.get(key)) for key in shared), []).append(record)
    texts: dict[int, str] = {}
    for group in groups.values():
        labelled, keys = distinguishing_keys(group, [*shared, *given], averaged) if len(group) > 1 else (group, [])
        own = [key for key in keys if with_ids or key != "id"]
        texts.update((id(record), label(each, own)) for record, each in zip(group, labelled, strict=True))
    return [texts[id(record)] for record in records]


def run_names(records: Sequence[Record], averaged: Sequence[str] = (), with_ids: bool = False) -> list[str]:
    """Name each run by its method and what distinguishes it within the method: ``maml, 5-way, algo.inner_lr=0.1``."""
    labels = distinguishing_labels(records, ["algo"], averaged, with_ids=with_ids)
    return [", ".join(filter(None, [record["algo"], text])) for record, text in zip(records, labels, strict=True)]


def label(record: Record, keys: Sequence[str]) -> str:
    """Write a run's values of some keys: ``maml, 5-way, algo.inner_lr=0.1``; missing values are omitted."""
    present = [key for key in keys if record.get(key) is not None]
    return ", ".join(_worded(key, record[key]) for key in present)


def _worded(key: str, value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else value  # a search samples rates with 17 digits
    return WORDING[key].format(text) if key in WORDING else f"{key}={text}"  # not format(): a key may contain braces


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
    """The settings that can change a run's numbers, by dotted key; a test's own settings override the trained run's."""
    config = _config(Path(record["path"]))
    trained = _config(Path(str(config["run"]))) if "run" in config else {}
    other = ("hydra.", "chosen.", *EXCLUDED_FROM_ID)
    given = [(key, value) for key, value in _dotted(config) if value is not None]  # null: as in the trained run
    usual = ADDED_KEYS.items() if config else ()
    settings = [*usual, *_dotted(trained), *given]
    return {key: value for key, value in settings if "." in key and not key.startswith(other)}


def dotted_config(run: Path) -> dict[str, Any]:
    """Return the settings of a run's `config.yaml` by dotted key; empty if it is missing or unreadable."""
    return dict(_dotted(_config(run)))


def _config(run: Path) -> dict[str, Any]:
    """Read a run's `config.yaml`; empty if it is missing or unreadable."""
    path = run / "config.yaml"
    try:
        content = path.read_bytes() if is_file(path) else b""
        sums.check(path, content)
        config = parse_yaml(content)
    except (OSError, ValueError):
        config = None
    return config if isinstance(config, dict) else {}


def _dotted(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in dotted(config):
        plain = value is None or isinstance(value, bool | int | float)
        yield printable(key), value if plain else printable(str(value))
