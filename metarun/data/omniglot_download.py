"""Find the two halves of Omniglot, or download them."""

import zipfile
from pathlib import Path

from metarun.data.cache import find_original, mirror
from metarun.data.omniglot_archive import PARTS, Part
from metarun.errors import UserError
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
    from metarun.data.download import DownloadError

    source = mirror()
    if isinstance(source, Path) and not source.is_dir():
        raise UserError(
            f"METARUN_MIRROR={source} is neither an http(s) URL nor an existing folder", "correct or unset it."
        )
    bases = [f"{source}/omniglot", source, OFFICIAL] if isinstance(source, str) else [OFFICIAL]
    zip_path = data_root() / "omniglot" / f"{part.name}.zip"
    failures = []
    for base in bases:
        try:
            return _download_zip(f"{base}/{part.name}.zip", zip_path)
        except DownloadError as error:
            failures.append(str(error))
    zips = " and ".join(f"{part.name}.zip" for part in PARTS)
    raise UserError(
        f"omniglot was not found and could not be downloaded ({'; '.join(failures)})",
        f"put {zips} into {zip_path.parent}, or use data=glyphs, which is built in.",
    )


def _download_zip(url: str, path: Path) -> Path:
    from metarun.data.download import DownloadError, download

    download(url, path)
    if not zipfile.is_zipfile(path):  # a login page, an error page
        path.unlink()
        raise DownloadError(f"{url}: the response is not a zip archive")
    return path
