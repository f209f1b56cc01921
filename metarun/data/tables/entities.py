"""Rows grouped by an entity, such as a patient, a user or a machine: every entity is a regression task."""

import hashlib
from dataclasses import dataclass

import numpy as np

from metarun.data.examples import ClassDataset, Skipped
from metarun.data.inputs import InputSpec

INPUTS, TARGETS = "x", "y"  # the fields of a row


def row_dtype(inputs: int, targets: int) -> np.dtype[np.void]:
    """Return the dtype of a row of so many numbers."""
    return np.dtype([(INPUTS, np.float32, (inputs,)), (TARGETS, np.float32, (targets,))])


@dataclass(frozen=True)
class EntityDataset:
    """A data set whose entities are split into meta-train, meta-val and meta-test.

    Args:
        rows: those of each entity, with the fields of `row_dtype`; what it calls a class is an entity.
        in_order: the support set of a task is an entity's first rows, and its queries are among the later ones; else
            both are drawn.
    """

    rows: ClassDataset
    in_order: bool = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.rows.name

    @property
    def skipped(self) -> Skipped:
        """What was skipped."""
        return self.rows.skipped

    @property
    def inputs(self) -> dict[str, InputSpec]:
        """The inputs of a row, one field."""
        return {INPUTS: self.rows.inputs[INPUTS]}

    @property
    def outputs(self) -> int:
        """How many targets a row has."""
        return self.rows.inputs[TARGETS].shape[0]

    @property
    def hash(self) -> str:
        """SHA-256 over all rows, their grouping, and what a support set is."""
        return hashlib.sha256(f"{self.rows.hash}|in order: {self.in_order}".encode()).hexdigest()
