"""In what the environments of runs differ: packages, git and machine."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.results.provenance import CHANGES_NUMBERS, PLACE
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory

OF_A_RUN = frozenset({"seeds", "data_hash", "precision", "tf32", "deterministic"})  # of its config and data


def differing_environments(records: Sequence[Record]) -> list[tuple[str, str, list[Record]]]:
    """Return the keys of environment.json in which runs differ, with each of their values and the runs that have it.

    Keys that a run does not have, such as those added in a later version, count as "–". Runs with no readable file
    are skipped.
    """
    found: dict[str, dict[str, list[Record]]] = {}
    known = [(record, run) for record in records if (run := _environment(record)) is not None]
    keys = dict.fromkeys(key for _, environment in known for key in environment)
    for record, environment in known:
        for key in keys:
            found.setdefault(key, {}).setdefault(environment.get(key, "–"), []).append(record)
    return [(key, value, of) for key, by_value in found.items() if len(by_value) > 1 for value, of in by_value.items()]


def _environment(record: Record) -> dict[str, str] | None:
    content = RunDirectory(Path(record["path"])).read_environment()
    return None if content is None else dict(_entries(content))


def _entries(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in (*CHANGES_NUMBERS, *PLACE):
        value = content.get(key)
        if key in OF_A_RUN or value is None:
            continue
        if isinstance(value, Mapping):
            yield from ((str(name), str(own)) for name, own in value.items())
        else:
            yield key, str(value)
