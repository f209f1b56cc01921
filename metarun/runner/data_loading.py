"""Load data from metarun's or a user's data source; errors in user code become one sentence."""

from typing import Any

from metarun.config.instantiate import build
from metarun.config.schema import Config
from metarun.errors import UserError, describe_exception
from metarun.rl.stream import EnvironmentSource, is_environment_family
from metarun.tasks.families import is_builtin
from metarun.tasks.source import TaskSource, task_source


def load_data(node: Config) -> TaskSource:
    """Build a data source and load its data.

    Raises:
        UserError: it is not a data source, its code fails, or it loads neither a data set nor a family of functions.
    """
    name = node.get("_target_")
    try:
        source = build("data", node)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if str(name).startswith("metarun."):
            raise
        raise UserError(describe_exception(f"data._target_={name} cannot be created", error)) from error
    if not callable(getattr(source, "load", None)):
        raise wrong_type_error("data", name, source, "data source with a load()")
    try:
        data = source.load()
        return EnvironmentSource(data) if is_environment_family(data) else task_source(data)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if is_builtin(source):
            raise
        raise UserError(describe_exception(f"data._target_={name} cannot be loaded", error)) from error


def wrong_type_error(key: str, name: Any, built: object, expected: str) -> UserError:
    """Return the error for a class that creates an object of the wrong type."""
    return UserError(f"{key}._target_={name} creates a {type(built).__name__}, not a {expected}", "use another class.")
