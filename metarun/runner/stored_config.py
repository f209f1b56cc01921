"""Read the config in a run's directory as untrusted input: code that it names is run only if the user trusts it."""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from metarun.algorithms import Method
from metarun.config.arguments import CODE_KEYS
from metarun.config.compose import merged, with_current_keys
from metarun.config.instantiate import import_by_name
from metarun.config.run_id import with_absolute_paths
from metarun.config.schema import Config, RetestConfig, RunConfig
from metarun.config.unknown_keys import known_part
from metarun.config.values import check_plain
from metarun.errors import UserError
from metarun.results import checksums
from metarun.results.run_directory import RunDirectory
from metarun.system.parsing import parse_yaml

REQUIRED = {"algo", "data", "backbone", "task", "test", "train", "chosen", "seed", "precision"}
BUILT = ("data", "backbone", "algo")  # each names a class by `_target_`
READ = (  # keys of a trained run's config that `metarun test` reads
    *(f"{group}.{size}" for group in ("task", "train") for size in ("way", "shot", "query")),
    *("test.tasks", "test.steps", "test.query", "test.seed", "chosen.algo", "chosen.data"),
)
HYDRA_KEYS = ("defaults", "hydra")  # for `metarun train --config-path`; not read here


def stored_config(
    run: RunDirectory,
    trust: Collection[str] | None,
    replaced: Collection[str] = (),
    required: Collection[str] = REQUIRED,
) -> Config:
    """Return the resolved config of a finished run, of `metarun train` or `metarun test`.

    metarun's methods, networks and data sets are built from it. Other code that it names is not even imported unless
    the command trusts it: run directories are shared, and `_target_: os.system` in one would run a command.

    Args:
        run: its directory is untrusted.
        trust: names of other code that the command trusts, as in the config; None: it cannot trust any.
        replaced: those of `data`, `backbone` and `algo` that the command replaces; they are not built.
        required: keys that must be present.

    Raises:
        UserError: the file is damaged, has an interpolation, or names code that is not trusted.
    """
    try:
        config = parse_yaml(run.config.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{run.config} cannot be read ({error})", "train the run again.") from error
    missing = set(required).difference(config if isinstance(config, dict) else ())
    if not isinstance(config, dict) or missing:
        raise _invalid(run, f"{', '.join(sorted(missing))} missing")
    plain = with_current_keys(config)
    for key, value in _leaves({key: plain[key] for key in plain if key not in HYDRA_KEYS}):
        if isinstance(value, str) and "${" in value:  # it could ask for an environment variable
            raise _invalid(run, f"{key}={value} is not resolved")
    _check_values(run, {key: value for key, value in plain.items() if key not in HYDRA_KEYS})
    _check_trusted(run, {key: plain.get(key) for key in BUILT if key not in replaced}, trust)
    checksums.check(run.config)
    return _with_original_paths(run, plain, [key for key in BUILT if key not in replaced])


def _with_original_paths(run: RunDirectory, config: Config, built: Sequence[str]) -> Config:
    """Resolve relative paths, which older runs have, from the directory in which the run was started."""
    directory = (run.read_environment() or {}).get("directory")
    if not isinstance(directory, str):
        return config
    return {**config, **with_absolute_paths({key: config[key] for key in built if key in config}, Path(directory))}


def _check_values(run: RunDirectory, config: Config) -> None:
    """Raise a UserError for a value that `metarun train` and `metarun test` cannot have written."""
    schema = RetestConfig if "run" in config else RunConfig
    known = known_part(config, schema)  # other versions may have more keys
    try:
        check_plain(config)
        typed = merged(OmegaConf.structured(schema), known)
    except (UserError, OmegaConfBaseException) as error:
        raise _invalid(run, str(error).partition("\n")[0].removesuffix(".")) from error
    if key := _converted_key(OmegaConf.to_container(typed), known):
        raise _invalid(run, f"{key} has the wrong type")
    if "run" in config:
        return
    missing = [key for key in BUILT if not isinstance(config[key], Mapping)]
    missing += [key for key in READ if OmegaConf.is_missing(*_node_and_name(typed, key))]
    if missing:
        raise _invalid(run, f"{missing[0]} missing")


def _invalid(run: RunDirectory, reason: str) -> UserError:
    return UserError(f"{run.config} is not a valid config of a run ({reason})", "train the run again.")


def _converted_key(read: Any, written: Any, key: str = "") -> str | None:
    """Return the key of the first value that the schema converted, such as '5' to a number."""
    if isinstance(written, Mapping) and isinstance(read, Mapping):
        inner = (
            _converted_key(read.get(name), item, f"{key}.{name}" if key else name) for name, item in written.items()
        )
        return next(filter(None, inner), None)
    return None if read == written and isinstance(read, bool) == isinstance(written, bool) else key


def _node_and_name(config: Any, key: str) -> tuple[DictConfig, str]:
    group, _, name = key.partition(".")
    return config[group], name


def _check_trusted(run: RunDirectory, built: Config, trust: Collection[str] | None) -> None:
    leaves = [(key, value) for key, value in _leaves(built) if value]
    named = [(key, value) for key, value in leaves if key.rpartition(".")[2] in CODE_KEYS]
    unknown = [(key, name) for key, name in named if name not in (trust or ()) and not _is_own(key, name)]
    if unknown:
        names = ",".join(dict.fromkeys(str(name) for _, name in unknown))
        remedy = "use a run without such code." if trust is None else f"if you trust this code, add `trust=[{names}]`."
        raise UserError(
            f"{run.config} names code that is not a method, network or data set of metarun "
            f"({', '.join(f'{key}={name}' for key, name in unknown)}), so it is not run without your consent",
            remedy,
        )
    for key, name in named:
        part, _, rest = key.partition(".")
        if (rest == "_target_" or _is_inner(key)) and not _is_class_for(part, import_by_name(name)):
            raise UserError(
                f"{run.config} names {key}={name}, which cannot be the `{part}` of a run", "train the run again."
            )


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every plain value with its dotted key; a `_target_` unchanged, even if it is not a string."""
    if isinstance(value, Mapping) and not key.endswith("._target_"):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and not key.endswith("._target_"):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{key}.{i}")
    else:
        yield key, value


def _is_own(key: str, name: Any) -> bool:
    """Whether a part of a run, a data set of a mixture or an encoder is built from one of metarun's classes."""
    part, _, rest = key.partition(".")
    if not (rest == "_target_" or _is_inner(key)) or not isinstance(name, str) or not name.startswith("metarun."):
        return False
    found = import_by_name(name)  # metarun.results.provenance.subprocess.Popen also starts with "metarun."
    return _is_class_for(part, found) and str(found.__module__).startswith("metarun.")


def _is_inner(key: str) -> bool:
    """Whether a key names the class of one data set of a mixture, or of the encoder in a backbone."""
    return re.fullmatch(r"(data\.sets\.[^.]+|backbone\.encoder)\._target_", key) is not None


def _is_class_for(part: str, found: Any) -> bool:
    """Whether this is a class that can be the `data`, `backbone` or `algo` of a run."""
    if not inspect.isclass(found):
        return False
    if part == "data":
        return callable(getattr(found, "load", None))
    return issubclass(found, nn.Module if part == "backbone" else Method)
