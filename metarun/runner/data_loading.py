"""From a source of data, metarun's or a user's, to its data; what goes wrong in a user's code is one sentence."""

from typing import Any

from metarun.config.instantiate import build
from metarun.config.schema import Config
from metarun.data import ClassDataset
from metarun.errors import UserError, failed
from metarun.tasks.families import check_family, family_hash, is_own


def load_data(node: Config) -> Any:
    """Make a data source and load its data.

    Raises:
        UserError: it is no source, its own code fails, or what it loads is no data set and no family of functions.
    """
    name = node.get("_target_")
    try:
        source = build("data", node)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if str(name).startswith("metarun."):
            raise
        raise UserError(failed(f"data._target_={name} cannot be made", error)) from error
    if not callable(getattr(source, "load", None)):
        raise made_another("data", name, source, "data source with a load()")
    try:
        data = source.load()
        if not isinstance(data, ClassDataset):
            check_family(data)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if is_own(source):
            raise
        raise UserError(failed(f"data._target_={name} cannot be loaded", error)) from error
    return data


def hash_of(data: Any) -> str:
    """Return the hash of loaded data: where it is equal, so are the tasks that are made of them."""
    return data.hash if isinstance(data, ClassDataset) else family_hash(data)


def made_another(key: str, name: Any, made: object, wanted: str) -> UserError:
    """Return the error for a class that makes something else than is wanted."""
    return UserError(f"{key}._target_={name} makes a {type(made).__name__}, which is no {wanted}", "name another.")
