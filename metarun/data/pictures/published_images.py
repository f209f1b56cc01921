"""Published sets of pictures: where to find them, and what a complete copy contains."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metarun.data.examples import SPLITS, Split
from metarun.data.files.archive import open_files
from metarun.data.files.cache import Original
from metarun.data.pictures.image_tables import Classes
from metarun.data.pictures.released_pictures import Open, cifar100, cub, tiered_imagenet
from metarun.errors import UserError
from metarun.system.paths import data_root

PublishedName = Literal["miniimagenet", "caltech101", "cifar_fs", "fc100", "tiered_imagenet", "cub"]


@dataclass(frozen=True, kw_only=True)
class PublishedSet(Original):
    """A published set.

    Args:
        summary: its content, one line.
        licence: its terms, one line.
        sizes: per split, the number of classes and the size of the smallest and the largest one.
        split_file: assigns classes to splits, if the folders do not.
        open: yields its files; see `open_files`.
        open_boxes: yields its files, of which only the bounding box of what they show is left; None: it has no boxes.
        pictures: in all splits together, where the sizes of classes are not published (0 in `sizes`).
    """

    summary: str
    licence: str
    sizes: Mapping[Split, tuple[int, int, int]]
    split_file: Path | None = None
    open: Open = open_files
    open_boxes: Open | None = None
    pictures: int | None = None

    def missing_error(self) -> UserError:
        """See `Original`."""
        return UserError(
            f"{self.name} was not found",
            f"put {self.advice} into {data_root() / self.name}, "
            "set `data.root` to its path, or use data=glyphs, which is built in.",
        )

    def check_complete(self, place: Path, splits: Mapping[Split, Classes]) -> None:
        """Raise a UserError if a split has too few or too many classes or pictures."""
        if self.pictures is not None:
            self._check_count(place, splits)
            return
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

    def _check_count(self, place: Path, splits: Mapping[Split, Classes]) -> None:
        """Raise a UserError unless there are the right numbers of classes, and of pictures in all."""
        found = {which: len(splits[which]) for which in SPLITS}
        expected = {which: self.sizes[which][0] for which in SPLITS}
        pictures = sum(len(files) for of_split in splits.values() for files in of_split.values())
        if (found, pictures) != (expected, self.pictures):
            has, wanted = (" / ".join(map(str, counts.values())) for counts in (found, expected))
            raise UserError(
                f"{place} has {has} classes and {pictures:,} pictures but {self.name} has {wanted} and "
                f"{self.pictures:,}",
                "complete your copy, or use data=image_folder for pictures of your own.",
            )


_CIFAR_FILES = ("cifar-100-python.tar.gz", "cifar-100-python", "cifar100.zip", "cifar100", "CIFAR-FS", "cifar-fs")
_CIFAR_ADVICE = (
    "cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, or cifar100.zip of Bertinetto et al.,"
)
_CIFAR_LICENCE = "none stated by its authors; cite Krizhevsky 2009"

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
    # The class lists of CIFAR-FS, FC100 and tieredImageNet are those of Torchmeta and few-shot-ssl-public (both MIT).
    "cifar_fs": PublishedSet(
        name="cifar_fs",
        summary="CIFAR-100 at 32x32: 100 kinds of things, 600 each, split at random",
        licence=f"{_CIFAR_LICENCE}, and Bertinetto et al. 2019 for the split",
        files=_CIFAR_FILES,
        sizes={"train": (64, 600, 600), "val": (16, 600, 600), "test": (20, 600, 600)},
        advice=_CIFAR_ADVICE,
        open=cifar100("cifar_fs"),
    ),
    "fc100": PublishedSet(
        name="fc100",
        summary="CIFAR-100 at 32x32: 100 kinds of things, 600 each, split by superclass",
        licence=f"{_CIFAR_LICENCE}, and Oreshkin et al. 2018 for the split",
        files=_CIFAR_FILES,
        sizes={"train": (60, 600, 600), "val": (20, 600, 600), "test": (20, 600, 600)},
        advice=_CIFAR_ADVICE,
        open=cifar100("fc100"),
    ),
    "tiered_imagenet": PublishedSet(
        name="tiered_imagenet",
        summary="photographs of 608 kinds of things from ImageNet in 34 categories, 732 to 1,300 each",
        licence="ImageNet's: your own copy, no redistribution; cite Ren et al. 2018",
        files=("tiered-imagenet", "tiered_imagenet", "tieredImageNet", "tieredimagenet", "ILSVRC2012_img_train"),
        sizes={"train": (351, 0, 0), "val": (97, 0, 0), "test": (160, 0, 0)},
        advice=(
            "the folder tiered-imagenet of https://github.com/renmengye/few-shot-ssl-public with its pickles, or "
            "ILSVRC2012_img_train with one folder of pictures per synset,"
        ),
        open=tiered_imagenet,
        pictures=779_165,
    ),
    "cub": PublishedSet(
        name="cub",
        summary="photographs of 200 species of birds, 41 to 60 each",
        licence="the photographers': non-commercial research; cite Wah et al. 2011, and Chen et al. 2019 for the split",
        files=("CUB_200_2011.tgz", "CUB_200_2011.tar.gz", "CUB_200_2011.zip", "CUB_200_2011"),
        sizes={"train": (100, 0, 0), "val": (50, 0, 0), "test": (50, 0, 0)},
        advice="CUB_200_2011.tgz from https://www.vision.caltech.edu/datasets/cub_200_2011",
        open=cub(boxes=False),
        open_boxes=cub(boxes=True),
        pictures=11_788,
    ),
}
