"""Which data a config's `data` stands for now, found out without loading them wherever that is known already."""

import logging
from collections.abc import Sequence
from pathlib import Path

from metarun import __version__
from metarun.config.instantiate import build
from metarun.config.run_id import data_identity
from metarun.config.schema import Config
from metarun.errors import UserError
from metarun.system.hash_cache import remembered

log = logging.getLogger(__name__)


def data_at_hand(config: Config) -> str | None:
    """Return the hash of the data that a resolved config names, as they are on this machine; None: they are not here.

    Nothing is downloaded. Data that metarun has cached are loaded once, then their hash is known for as long as neither
    the cache nor what the config says of them changes.
    """
    node = config["data"]
    try:
        if not str(node["_target_"]).startswith("metarun."):
            from metarun.runner.data_loading import load_data  # torch, which most data sets do without

            return load_data(node).hash
        source = build("data", node)
        if source.where() is None:
            return None

        def compute() -> str:
            return str(source.load().hash)

        files: Sequence[Path] = getattr(source, "cache_files", list)()
        if files and all(file.is_file() for file in files):
            return remembered(files, f"data|{__version__}|{data_identity(config)}", compute)
        return compute()
    except UserError as error:
        log.warning("whether the data are those that this run was made from is not known: %s", error)
        return None
