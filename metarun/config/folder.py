"""Find the YAML tree."""

from pathlib import Path


def config_dir() -> Path:
    """Return the folder of the YAML tree: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"metarun's conf/ folder is neither in {package} nor beside it; reinstall metarun.")
