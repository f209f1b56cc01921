"""Find the settings in which the rows of a table differ, other than by what their methods' recipes say."""

from collections.abc import Sequence

from metarun.reporting.tables.run_labels import label, with_settings
from metarun.results.records import Record

# Not shown: what columns show, and what repeats another key.
IN_COLUMNS = (
    "task.",
    "train.way",
    "train.shot",
    "train.query",
    "train.within",
    "test.query",
    "test.tasks",
    "test.seed",
    "test.unknown",
    "test.out_of_scope",
)
LABELS = ("task.labels", "task.embedding", "task.clusters", "task.partitions")  # shown, unlike other keys of `task`
REPEATED = ("paper_backbone.", "algo.outputs", "backbone.norm", "algo.order", "algo._target_", "data._target_")
# What a training costs.
BUDGET = ("train.iterations", "train.time_budget", "train.meta_batch", "backbone.")
TEST_SETTING = ("test_data", "test_way", "test_shot", "test_within")


def differing_settings(records: Sequence[Record], same: Sequence[str]) -> tuple[list[str], list[str], list[bool]]:
    """Describe each run by the settings in which the runs differ.

    A setting counts if the command of any run set it, or if it differs among runs with equal values of the keys in
    `same`. Between methods, a setting that no command set differs by their recipes and is not shown.

    Args:
        records: of finished runs, with their `path`.
        same: keys of the records, such as the method and the task.

    Returns:
        A text for each run, "" if there are none; the settings that commands set and that all runs share; and whether
        the runs of its test setting differ in what their training cost, by a command.
    """
    found = with_settings(records)
    hidden = (*IN_COLUMNS, *REPEATED)
    settings = {key for record in found for key in record if "." in key}
    keys = sorted(key for key in settings if key in LABELS or not key.startswith(hidden))
    overridden = {key for record in records for key in record.get("overrides", [])}  # missing in older rows
    alike = _grouped(found, same)
    differing = [
        key
        for key in keys
        if (key in overridden and _differ(found, key)) or any(_differ(group, key) for group in alike.values())
    ]
    shared = [f"{key}={found[0].get(key)}" for key in keys if key in overridden and not _differ(found, key)]
    costs = [key for key in differing if key in overridden and key.startswith(BUDGET)]
    unequal = {
        setting
        for setting, group in _grouped(found, TEST_SETTING).items()
        if any(_differ(group, key) and any(key in record.get("overrides", []) for record in group) for key in costs)
    }
    texts = [label(record, differing) for record in found]
    return texts, shared, [_values(record, TEST_SETTING) in unequal for record in found]


def _grouped(records: Sequence[Record], keys: Sequence[str]) -> dict[tuple[str, ...], list[Record]]:
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(_values(record, keys), []).append(record)
    return groups


def _values(record: Record, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(record.get(key)) for key in keys)


def _differ(records: Sequence[Record], key: str) -> bool:
    """Whether runs differ in a setting; a run that has no such setting, like a method without inner steps, does not."""
    return len({str(record[key]) for record in records if key in record}) > 1
