"""The groups of classes that tasks are drawn from with `task.within`, such as the alphabets of Omniglot."""

import logging
from collections.abc import Iterable, Mapping

import torch

from metarun.config.key_origins import set_by, source_key
from metarun.data import ClassDataset, Split
from metarun.errors import UserError, counted, did_you_mean
from metarun.tasks.batch import TaskShape
from metarun.tasks.sampling import ClassGroups

log = logging.getLogger(__name__)

_SHOWN = 3  # groups that a sentence names


def groups_that_serve(data: ClassDataset, split: Split, shape: TaskShape) -> ClassGroups | None:
    """Return the groups of a split that have enough classes for a task; None if `shape.within` asks for none.

    Smaller groups are skipped, which is logged.

    Raises:
        UserError: the data set has no such grouping, or no group has enough classes.
    """
    if shape.within is None:
        return None
    groups = _groups(data, split, shape)
    fit = {group: classes for group, classes in groups.items() if len(classes) >= shape.way}
    if not fit:
        largest = max(groups, key=lambda group: len(groups[group]))
        raise UserError(
            f"way={shape.way} but the largest {shape.within} in split '{split}' of {data.name}, {largest!r}, has "
            f"{counted(len(groups[largest]), 'class')}",
            f"lower {shape.knob('way')} or set `{source_key(shape.key('within'))}=null`.",
        )
    if len(fit) < len(groups):
        small = sorted((len(classes), group) for group, classes in groups.items() if group not in fit)
        named = ", ".join(f"{group} {size}" for size, group in small[:_SHOWN])
        more = f" and {len(small) - _SHOWN:,} more" if len(small) > _SHOWN else ""
        log.info(
            "tasks of meta-%s are within %d of %d groups by %s; too small for way=%d: %s%s",
            *(split, len(fit), len(groups), shape.within, shape.way, named, more),
        )
    sizes = torch.tensor([0, *map(len, fit.values())])
    return ClassGroups(torch.tensor([c for classes in fit.values() for c in classes]), sizes.cumsum(0))


def no_such_groups(shape: TaskShape, key: str, what: str, groupings: Iterable[str]) -> UserError:
    """Return the error for a key of a shape that asks for groups which the data do not have.

    Args:
        shape: of the tasks.
        key: "within" or "across".
        what: is grouped, "classes of omniglot".
        groupings: those that there are.
    """
    asked, setting, known = getattr(shape, key), source_key(shape.key(key)), sorted(groupings)
    problem = f"{setting}={asked}{set_by(shape.key(key))} but the {what}"
    if not known:
        return UserError(f"{problem} are not in groups", f"set `{setting}=null`.")
    possible = " or ".join(known)
    remedy = f"set `{setting}` to {possible} or null.{did_you_mean(asked, known)}"
    return UserError(f"{problem} are grouped by {possible}", remedy)


def _groups(data: ClassDataset, split: Split, shape: TaskShape) -> Mapping[str, list[int]]:
    """Return the numbers of the classes of each group of a split, groups in the order in which they appear."""
    assert shape.within is not None
    grouping = data.groupings.get(shape.within)
    if grouping is None:
        raise no_such_groups(shape, "within", f"classes of {data.name}", data.groupings)
    groups: dict[str, list[int]] = {}
    for number, class_name in enumerate(data.splits[split].class_names):
        groups.setdefault(grouping(class_name), []).append(number)
    return groups
