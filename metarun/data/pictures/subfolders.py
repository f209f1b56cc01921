"""Subfolders that group the pictures of a class, such as one per photographer, instead of being classes."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import Split, check_disjoint
from metarun.data.pictures.folder_layout import Layout
from metarun.data.pictures.image_tables import Classes
from metarun.errors import UserError


def merge_subfolders(root: Path, layout: Layout) -> Layout:
    """Return a layout whose classes are the folders above those of the pictures.

    Raises:
        UserError: pictures are in a folder that has none above it, or a class is then in two splits.
    """
    merged: dict[Split, Classes] = {}
    for split, folders in layout.splits.items():
        classes: dict[str, list[str]] = defaultdict(list)
        for folder, files in folders.items():
            class_name, slash, _ = folder.rpartition("/")
            if not slash:
                raise UserError(
                    f"data.subfolders=groups but the pictures of '{folder}' in {root} are in no subfolder",
                    "put them into some, such as one per photographer, or set it to classes.",
                )
            classes[class_name] += files
        merged[split] = dict(sorted(classes.items()))
    check_disjoint(str(root), {split: list(classes) for split, classes in merged.items()})
    return replace(layout, splits=merged)


def subfolders_of(layout: Layout, split: Split) -> ExampleGroups:
    """Return the names of the folders of a split's pictures, in the order of its examples."""
    return ExampleGroups.of(Path(file).parent.name for files in layout.splits[split].values() for file in files)
