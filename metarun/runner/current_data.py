"""Find the hash of a config's data, without loading them if it is cached."""

import logging
from collections.abc import Sequence
from pathlib import Path

from metarun.config.instantiate import build
from metarun.config.run_id import data_identity
from metarun.config.schema import Config
from metarun.errors import UserError
from metarun.system.hash_cache import cached_answer
from metarun.system.version import __version__

log = logging.getLogger(__name__)

EPISODES = "episodes"  # the key of `data` that holds the hash of listed tasks, which are no data set


def current_data_hash(config: Config) -> str | None:
    """Return the hash of a resolved config's data on this machine; None if they are missing, or are episodes.

    Nothing is downloaded. Cached data are loaded once; their hash is stored until the cache or the config changes.
    """
    node = config["data"]
    if EPISODES in node:  # their hash is in the run's id
        return None
    try:
        if not str(node["_target_"]).startswith("metarun."):
            from metarun.runner.data_loading import load_data  # imports torch, which most data sets do not need

            return load_data(node).hash
        source = build("data", node)
        if source.where() is None:
            return None

        def compute() -> str:
            return str(source.load().hash)

        files: Sequence[Path] = getattr(source, "cache_files", list)()
        if files and all(file.is_file() for file in files):
            return cached_answer(files, f"data|{__version__}|{data_identity(config)}", compute)
        return compute()
    except UserError as error:
        log.warning("cannot check whether the data of this run have changed: %s", error)
        return None
