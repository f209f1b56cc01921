"""Find the two halves of Omniglot, or download them."""

from pathlib import Path

from metarun.data.files.cache import find_original, mirror_urls
from metarun.data.pictures.omniglot_archive import PARTS, Part
from metarun.system.paths import data_root

OFFICIAL = "https://github.com/brendenlake/omniglot/raw/master/python"


def find_part(part: Part) -> Path | None:
    """Return the folder or zip of this part; the data root is searched before the mirror."""
    return find_original("omniglot", (part.name, f"{part.name}.zip"))


def download_part(part: Part) -> Path:
    """Download the zip of this part into the data root and return its path.

    Raises:
        UserError: neither the mirror nor the official URL has it.
    """
    from metarun.data.files.download import download_zip

    path = data_root() / "omniglot" / f"{part.name}.zip"
    zips = " and ".join(f"{part.name}.zip" for part in PARTS)
    remedy = f"put {zips} into {path.parent}, or use data=glyphs, which is built in."
    urls = [*mirror_urls("omniglot", path.name), f"{OFFICIAL}/{path.name}"]
    return download_zip("omniglot", urls, path, remedy)
