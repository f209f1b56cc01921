"""Rows of a table, with the columns that a run was trained with."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metarun.data.encoders import RowEncoder
from metarun.data.own.found import Examples, Found
from metarun.data.tables.table_features import TableFeatures, class_name
from metarun.data.tables.table_file import SUFFIXES, line_of, read_table
from metarun.errors import UserError, did_you_mean
from metarun.system.paths import is_folder


def read_rows(encoder: RowEncoder, path: Path) -> Examples:
    """See `read_examples`."""
    if is_folder(path):
        raise UserError(f"{path} is a folder but the run takes rows", f"name a table ({', '.join(SUFFIXES)}).")
    names = [] if encoder.label is None else [encoder.label]
    table = read_table(path, str(path), encoder.header, names=names)
    for column in encoder.inputs.names:
        if column not in table.columns:
            there = ", ".join(table.columns[:20])
            near = did_you_mean(column, table.columns)
            raise UserError(f"{path} has no column '{column}', which the run needs", f"its columns are {there}.{near}")
    rows, reasons = encoder.inputs.checked(table, encoder.missing)
    labels = table[encoder.label] if encoder.label in table.columns else pd.Series([None] * len(table))
    found = []
    for row, (label, reason) in enumerate(zip(labels, reasons, strict=True)):
        line = line_of(row, encoder.header)
        error = f"line {line} of {path.name} {reason}" if reason else ""
        found.append(Found(f"{path.name}:{line}", class_name(label), error))
    usable = np.array([not reason for reason in reasons])
    targets = None if encoder.targets is None else _targets(encoder.targets, table)[usable]
    return Examples(encoder.noun, found, encoder.encode(rows[usable]), targets)


def _targets(targets: TableFeatures, table: pd.DataFrame) -> NDArray[np.float32]:
    """Return (rows, outputs) scaled targets; NaN where a row has none, or no number."""
    there = table.reindex(columns=targets.names)
    rows, reasons = targets.checked(there, missing=False)
    scaled = targets.vectors(rows)
    scaled[[bool(reason) for reason in reasons]] = np.nan
    return scaled
