"""From a source of data, metarun's or a user's, to its data; what goes wrong in a user's code is one sentence."""

from typing import Any

from metarun.config.instantiate import build
from metarun.config.schema import Config
from metarun.errors import UserError, failed
from metarun.tasks.families import is_own
from metarun.tasks.stream import TaskSource, task_source


def load_data(node: Config) -> TaskSource:
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
        return task_source(source.load())
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if is_own(source):
            raise
        raise UserError(failed(f"data._target_={name} cannot be loaded", error)) from error


def made_another(key: str, name: Any, made: object, wanted: str) -> UserError:
    """Return the error for a class that makes something else than is wanted."""
    return UserError(f"{key}._target_={name} makes a {type(made).__name__}, which is no {wanted}", "name another.")
