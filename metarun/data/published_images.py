"""Published sets of pictures: where they are looked for, and what a whole copy holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metarun.data.cache import find_original
from metarun.data.examples import SPLITS, Split
from metarun.data.image_tables import Classes
from metarun.errors import UserError
from metarun.system.paths import data_root

KnownName = Literal["miniimagenet", "caltech101"]


@dataclass(frozen=True)
class Known:
    """A published set.

    Args:
        name: what messages and tables call it.
        summary: what it holds, one line.
        licence: under which terms, one line.
        files: folders or zips, any one of which is the set.
        holds: per split, how many classes, and the size of the smallest and of the largest one.
        advice: what to put where, one clause.
        split_file: which classes are whose, where the pictures do not lie so.
    """

    name: str
    summary: str
    licence: str
    files: tuple[str, ...]
    holds: Mapping[Split, tuple[int, int, int]]
    advice: str
    split_file: Path | None = None

    def find(self) -> Path | None:
        """Return where the set lies, the data root before the mirror folder."""
        return find_original(self.name, self.files)

    def absent(self) -> UserError:
        """Return the sentence to raise where the set is not."""
        return UserError(
            f"{self.name} is not here",
            f"put {self.advice} into {data_root() / self.name}, "
            "name its place with `data.root`, or use data=glyphs, which needs nothing.",
        )

    def check_whole(self, place: Path, splits: Mapping[Split, Classes]) -> None:
        """Raise a UserError where a split has too few or too many classes or pictures."""
        for which in SPLITS:
            sizes = {class_name: len(files) for class_name, files in splits[which].items()}
            smallest, largest = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
            if (len(sizes), sizes[smallest], sizes[largest]) != self.holds[which]:
                classes, least, most = self.holds[which]
                raise UserError(
                    f"split '{which}' of {self.name} in {place} has {len(sizes)} classes of {sizes[smallest]} "
                    f"('{smallest}') to {sizes[largest]} ('{largest}') pictures but {classes} of {least} to {most} "
                    "are expected",
                    "complete your copy, or use data=image_folder for a set of your own.",
                )


KNOWN: Mapping[KnownName, Known] = {
    "miniimagenet": Known(
        name="miniimagenet",
        summary="photographs of 100 kinds of things, 600 each, out of ImageNet",
        licence="ImageNet's: your own copy, not to be passed on",
        files=tuple(
            f"{spelling}{suffix}"
            for spelling in ("mini-imagenet", "mini_imagenet", "mini-ImageNet", "miniImagenet", "miniimagenet")
            for suffix in ("", ".zip")
        ),
        holds={"train": (64, 600, 600), "val": (16, 600, 600), "test": (20, 600, 600)},
        advice="your copy (folders train, val and test, or images with Ravi's train.csv, val.csv and test.csv)",
    ),
    "caltech101": Known(
        name="caltech101",
        summary="photographs of 99 kinds of things, 31 to 800 each, 84x84",
        licence="CC BY 4.0",
        files=("caltech101_84x84.zip", "101_ObjectCategories", "caltech101"),
        holds={"train": (64, 31, 800), "val": (15, 37, 87), "test": (20, 34, 123)},
        advice="the folder 101_ObjectCategories of the official download, or caltech101_84x84.zip,",
        split_file=Path(__file__).with_name("caltech101_split.json"),  # metarun's own; no faces of people among them
    ),
}
