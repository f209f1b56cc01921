"""The config that lies in a run's directory: data, whoever wrote it, so it names no code that is run for the asking."""

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from metarun.algorithms import Algorithm
from metarun.config.arguments import NAMES_OF_CODE
from metarun.config.compose import merged, with_current_keys
from metarun.config.instantiate import found_by_name
from metarun.config.run_id import with_absolute_paths
from metarun.config.schema import Config, RetestConfig, RunConfig
from metarun.config.values import check_plain
from metarun.errors import UserError
from metarun.results import checksums as sums
from metarun.results.run_directory import RunDirectory
from metarun.system.parsing import parse_yaml

NEEDED = {"algo", "data", "backbone", "task", "test", "train", "chosen", "seed", "precision"}
BUILT = ("data", "backbone", "algo")  # each names a class by `_target_`
READ = (  # of the config of a trained run, by who tests it
    *(f"{group}.{size}" for group in ("task", "train") for size in ("way", "shot", "query")),
    *("test.tasks", "test.steps", "test.query", "test.seed", "chosen.algo", "chosen.data"),
)
OF_HYDRA = ("defaults", "hydra")  # for `metarun train --config-path`; nothing here looks at it


def stored_config(
    run: RunDirectory, trust: Collection[str], replaced: Collection[str] = (), needed: Collection[str] = NEEDED
) -> Config:
    """Return the resolved config that a finished run, or a row of `metarun test`, was made from.

    metarun's own methods, networks and data sets may be built from it. Any other code that it names is run only where
    the command names it too, and is not so much as imported before: run directories are passed from hand to hand, and
    `_target_: os.system` in one would be a command.

    Args:
        run: of which the directory may be anybody's.
        trust: code of others that the command vouches for, as the config names it.
        replaced: those of `data`, `backbone` and `algo` that the command chooses anew: nothing is built of them.
        needed: keys without which it is no such config.

    Raises:
        UserError: the file is damaged, holds an interpolation, or names code that nobody vouches for.
    """
    try:
        config = parse_yaml(run.config.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{run.config} cannot be read ({error})", "train that run again.") from error
    missing = set(needed).difference(config if isinstance(config, dict) else ())
    if not isinstance(config, dict) or missing:
        raise UserError(f"{run.config} is no config of a run ({', '.join(sorted(missing))} missing)", "train it again.")
    plain = with_current_keys(config)
    for key, value in _leaves({key: plain[key] for key in plain if key not in OF_HYDRA}):
        if isinstance(value, str) and "${" in value:  # it could ask for an environment variable
            raise UserError(f"{run.config} holds {key}={value} but a run's config is resolved", "train that run again.")
    _check_values(run, {key: value for key, value in plain.items() if key not in OF_HYDRA})
    _check_vouched_for(run, {key: plain.get(key) for key in BUILT if key not in replaced}, trust)
    sums.check(run.config)
    return _with_its_own_paths(run, plain, [key for key in BUILT if key not in replaced])


def _with_its_own_paths(run: RunDirectory, config: Config, vouched_for: Sequence[str]) -> Config:
    """Let relative paths, which older runs hold, start where the run was made, not where this command is given."""
    directory = (run.read_environment() or {}).get("directory")
    if not isinstance(directory, str):
        return config
    return {
        **config,
        **with_absolute_paths({key: config[key] for key in vouched_for if key in config}, Path(directory)),
    }


def _check_values(run: RunDirectory, config: Config) -> None:
    """Raise a UserError where a key holds something else than `metarun train` or `metarun test` could have written."""
    schema = OmegaConf.structured(RetestConfig if "run" in config else RunConfig)
    OmegaConf.set_struct(schema, False)  # keys of other versions may be there
    try:
        check_plain(config)
        typed = merged(schema, config)
    except (UserError, OmegaConfBaseException) as error:
        reason = str(error).partition("\n")[0].removesuffix(".")
        raise UserError(f"{run.config} is no config of a run ({reason})", "train that run again.") from error
    if other := _other(OmegaConf.to_container(typed), config):
        raise UserError(f"{run.config} holds something else than a run's {other}", "train that run again.")
    if "run" in config:
        return
    missing = [key for key in BUILT if not isinstance(config[key], Mapping)]
    missing += [key for key in READ if OmegaConf.is_missing(*_place(typed, key))]
    if missing:
        raise UserError(f"{run.config} is no config of a run ({missing[0]} missing)", "train it again.")


def _other(read: Any, written: Any, key: str = "") -> str | None:
    """Return the key of the first value that the schema reads as another one, such as '5' where a number stands."""
    if isinstance(written, Mapping) and isinstance(read, Mapping):
        inner = (_other(read.get(name), item, f"{key}.{name}" if key else name) for name, item in written.items())
        return next(filter(None, inner), None)
    return None if read == written and isinstance(read, bool) == isinstance(written, bool) else key


def _place(config: Any, key: str) -> tuple[DictConfig, str]:
    group, _, name = key.partition(".")
    return config[group], name


def _check_vouched_for(run: RunDirectory, built: Config, trust: Collection[str]) -> None:
    leaves = [(key, value) for key, value in _leaves(built) if value]
    named = [(key, value) for key, value in leaves if key.rpartition(".")[2] in NAMES_OF_CODE]
    unknown = [(key, name) for key, name in named if name not in trust and not _is_own(key, name)]
    if unknown:
        raise UserError(
            f"{run.config} names code that is no method, network or data set of metarun's "
            f"({', '.join(f'{key}={name}' for key, name in unknown)}), and what comes with a run is not run unasked",
            f"if you know that code, add `trust=[{','.join(dict.fromkeys(str(name) for _, name in unknown))}]`.",
        )
    for key, name in named:
        part, _, rest = key.partition(".")
        if rest == "_target_" and not _stands_for(part, found_by_name(name)):
            raise UserError(
                f"{run.config} names {key}={name}, which cannot be the `{part}` of a run", "train it again."
            )


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every plain value below, by dotted key; a `_target_` as it is, even where it is no text."""
    if isinstance(value, Mapping) and not key.endswith("._target_"):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and not key.endswith("._target_"):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{key}.{i}")
    else:
        yield key, value


def _is_own(key: str, name: Any) -> bool:
    """Whether a part of a run is to be built from a class of metarun's; whatever stands further down is not."""
    part, _, rest = key.partition(".")
    if rest != "_target_" or not isinstance(name, str) or not name.startswith("metarun."):
        return False
    found = found_by_name(name)  # metarun.results.provenance.subprocess.Popen begins with "metarun." too
    return _stands_for(part, found) and str(found.__module__).startswith("metarun.")


def _stands_for(part: str, found: Any) -> bool:
    """Whether this is a class of what `data`, `backbone` or `algo` stands for."""
    if not inspect.isclass(found):
        return False
    if part == "data":
        return callable(getattr(found, "load", None))
    return issubclass(found, nn.Module if part == "backbone" else Algorithm)
