"""Several data sets as one: each task comes from one of them, drawn by its weight."""

import inspect
import math
import re
from collections.abc import Mapping
from pathlib import Path

from metarun.data.examples import ClassDataset
from metarun.data.mixed_datasets import MixedDatasets
from metarun.data.source import DataSource
from metarun.errors import UserError

# Keys of data sets that change the shape or the kind of an example.
_RESHAPING = ("size", "channels", "features", "length", "tokens", "vocabulary", "rate", "seconds", "mels", "hop")


class Mixture:
    """Several sets of classes with examples of one shape; each keeps its own splits, cache and hash.

    Args:
        sets: the data sets by name.
        weights: how often a meta-training or meta-val task is from each of them, relative to the others; None: equally
            often. In meta-test each has as many tasks.

    Raises:
        UserError: there are fewer than two data sets, or a weight is missing, not positive, or of no data set.
    """

    def __init__(self, sets: Mapping[str, DataSource], weights: Mapping[str, float] | None = None) -> None:
        if len(sets) < 2:
            raise UserError("a mixture needs two data sets or more", "write data=NAME+NAME.")
        for name, each in sets.items():
            if not callable(getattr(each, "load", None)):
                raise UserError(f"data.sets.{name}={each!r} is not a data set", f"set `data.sets.{name}._target_`.")
        self.sets = dict(sets)
        self.weights = dict(weights) if weights is not None else dict.fromkeys(sets, 1.0)
        self.name = "+".join(sets)
        self.summary = f"tasks from {', '.join(sets)}"
        self.licence = "; ".join(dict.fromkeys(getattr(each, "licence", "yours") for each in sets.values()))
        for name in sorted({*self.sets, *self.weights}):
            _check_weight(name, self.sets, self.weights)

    def load(self) -> MixedDatasets:
        """Load each data set."""
        parts = {name: self._load(name) for name in self.sets}
        first, *others = parts
        for other in others:
            if parts[other].inputs != parts[first].inputs:
                raise self._unequal_examples(first, other, parts)
            if parts[other].floor_vectors != parts[first].floor_vectors:
                raise UserError(f"the floors of {first} and {other} are computed differently", "mix data of one kind.")
        return MixedDatasets(parts, self.weights)

    def _load(self, name: str) -> ClassDataset:
        try:
            data = self.sets[name].load()
        except UserError as error:
            raise _about(name, error) from error
        if not isinstance(data, ClassDataset):
            raise UserError(
                f"{name} cannot be part of data={self.name}, since its tasks are regression",
                "mix data sets of classes.",
            )
        return data

    def _unequal_examples(self, one: str, other: str, parts: Mapping[str, ClassDataset]) -> UserError:
        keys = [
            f"`data.sets.{name}.{key}`"
            for name in (other, one)
            for key in _RESHAPING
            if key in inspect.signature(type(self.sets[name])).parameters
        ]
        described = {
            name: ", ".join(f"{field} {list(spec.shape)} of {spec.kind}" for field, spec in parts[name].inputs.items())
            for name in (one, other)
        }
        return UserError(
            f"examples of {one} are {described[one]} but those of {other} are {described[other]}",
            f"make them equal with {', '.join(keys)}." if keys else "no key changes them: choose other data sets.",
        )

    def where(self) -> str | None:
        """Return where the data sets would come from now; None: one of them is not here."""
        places = {name: getattr(each, "where", lambda: "your code")() for name, each in self.sets.items()}
        if None in places.values():
            return None
        return "; ".join(f"{name}: {place}" for name, place in places.items())

    def cache_files(self) -> list[Path]:
        """Return the caches of all data sets, see `DataSource`; none if one of them has no cache."""
        files: list[list[Path]] = [getattr(each, "cache_files", list)() for each in self.sets.values()]
        return [file for each in files for file in each] if all(files) else []

    def check(self) -> str:
        """Verify each data set and return a line about each."""
        found = []
        for name, each in self.sets.items():
            try:
                check = getattr(each, "check", lambda: "has no check() of its own")  # a user's needs only `load`
                found.append(f"{name}: {check()}")
            except UserError as error:
                raise _about(name, error) from error
        self.load()
        return "\n".join(found)


def _check_weight(name: str, sets: Mapping[str, object], weights: Mapping[str, float]) -> None:
    key = f"data.weights.{name}"
    if name not in sets:
        raise UserError(f"{key} is not the weight of a data set in data={'+'.join(sets)}", f"omit `{key}`.")
    if name not in weights:
        raise UserError(f"{key} is missing", f"set `{key}=1`.")
    if not (0 < weights[name] < math.inf):
        raise UserError(f"{key}={weights[name]} but a weight must be above 0 and finite", f"correct `{key}`.")


def _about(name: str, error: UserError) -> UserError:
    """Return the error of one data set with the keys that it has in a mixture: data.root is data.sets.NAME.root."""

    def of_set(text: str) -> str:
        return re.sub(r"\bdata\.(?=[a-z])(?!sets\.)", f"data.sets.{name}.", text)

    return UserError(f"{name}: {of_set(error.problem)}", of_set(error.remedy))
