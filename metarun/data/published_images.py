"""Published sets of pictures: where to find them, and what a complete copy contains."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metarun.data.cache import find_original
from metarun.data.examples import SPLITS, Split
from metarun.data.image_tables import Classes
from metarun.errors import UserError
from metarun.system.paths import data_root

PublishedName = Literal["miniimagenet", "caltech101"]


@dataclass(frozen=True)
class PublishedSet:
    """A published set.

    Args:
        name: in messages and tables.
        summary: its content, one line.
        licence: its terms, one line.
        files: folders or zips, any one of which contains the set.
        sizes: per split, the number of classes and the size of the smallest and the largest one.
        advice: what to put into its folder, for a message.
        split_file: assigns classes to splits, if the folders do not.
    """

    name: str
    summary: str
    licence: str
    files: tuple[str, ...]
    sizes: Mapping[Split, tuple[int, int, int]]
    advice: str
    split_file: Path | None = None

    def find(self) -> Path | None:
        """Return the path of the set; the data root is searched before the mirror."""
        return find_original(self.name, self.files)

    def missing_error(self) -> UserError:
        """Return the error to raise if the set is not found."""
        return UserError(
            f"{self.name} was not found",
            f"put {self.advice} into {data_root() / self.name}, "
            "set `data.root` to its path, or use data=glyphs, which is built in.",
        )

    def check_complete(self, place: Path, splits: Mapping[Split, Classes]) -> None:
        """Raise a UserError if a split has too few or too many classes or pictures."""
        for which in SPLITS:
            sizes = {class_name: len(files) for class_name, files in splits[which].items()}
            smallest, largest = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
            if (len(sizes), sizes[smallest], sizes[largest]) != self.sizes[which]:
                classes, least, most = self.sizes[which]
                raise UserError(
                    f"split '{which}' of {self.name} in {place} has {len(sizes)} classes of {sizes[smallest]} "
                    f"('{smallest}') to {sizes[largest]} ('{largest}') pictures but {classes} of {least} to {most} "
                    "are expected",
                    "complete your copy, or use data=image_folder for pictures of your own.",
                )


PUBLISHED: Mapping[PublishedName, PublishedSet] = {
    "miniimagenet": PublishedSet(
        name="miniimagenet",
        summary="photographs of 100 kinds of things from ImageNet, 600 each",
        licence="ImageNet's: your own copy, no redistribution",
        files=tuple(
            f"{spelling}{suffix}"
            for spelling in ("mini-imagenet", "mini_imagenet", "mini-ImageNet", "miniImagenet", "miniimagenet")
            for suffix in ("", ".zip")
        ),
        sizes={"train": (64, 600, 600), "val": (16, 600, 600), "test": (20, 600, 600)},
        advice="your copy (folders train, val and test, or images with Ravi's train.csv, val.csv and test.csv)",
    ),
    "caltech101": PublishedSet(
        name="caltech101",
        summary="photographs of 99 kinds of things, 31 to 800 each, 84x84",
        licence="CC BY 4.0",
        files=("caltech101_84x84.zip", "101_ObjectCategories", "caltech101"),
        sizes={"train": (64, 31, 800), "val": (15, 37, 87), "test": (20, 34, 123)},
        advice="the folder 101_ObjectCategories of the official download, or caltech101_84x84.zip,",
        split_file=Path(__file__).with_name("caltech101_split.json"),  # metarun's own; without the faces of people
    ),
}
