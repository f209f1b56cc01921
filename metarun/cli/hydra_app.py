"""`metarun train` and `metarun test`: the arguments after the command are Hydra's command line."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from metarun.cli.errors import report
from metarun.cli.first_words import say
from metarun.config.folder import config_dir
from metarun.config.hydra_errors import unreadable_file
from metarun.config.hydra_origins import HydraOrigins, only_requested
from metarun.config.key_origins import using_origins
from metarun.config.override_checks import check_overrides
from metarun.config.overrides import hydra_overrides, without_plus
from metarun.config.schema import register
from metarun.errors import UserError
from metarun.system.events import connect_to_sweep
from metarun.system.imports import importing_torch
from metarun.system.paths import is_folder
from metarun.system.secrets import refuse_secrets
from metarun.system.signals import die_with_parent

MAX_SWEEP_RUNS = 100_000
PRIMARY_CONFIGS = {"train": "config", "test": "test"}  # conf/config.yaml, conf/test.yaml

# Messages for required keys that were not given.
REQUIRED = {
    "run": (
        "run=RUN is required: a run's directory, the first characters of its id, `last` or `best`; `metarun runs` "
        "lists them."
    )
}


def run_under_hydra(command: str, args: list[str]) -> int:
    """Compose the config from `args` and run `command` on it, once or as a sweep.

    Returns:
        The exit code; for a sweep with failed jobs, that of the first failed job.

    Raises:
        UserError: a flag or a folder does not exist, or an argument has no meaning or contains a password.
    """
    die_with_parent()
    connect_to_sweep()
    refuse_secrets(args)
    register()
    sys.path.append(str(Path.cwd()))  # users import their own classes from the current folder
    failures: list[int] = []
    sys.argv = ["metarun", *hydra_args(command, args)]
    main = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=PRIMARY_CONFIGS[command])
    with _hydra_raises():
        try:
            main(_job(command, failures))()
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 0
        except Exception as error:
            if type(error) in (ValueError, TypeError) and not failures:  # how Hydra rejects task=3 or -m --cfg job
                raise UserError(f"metarun {command} {' '.join(args)}: {error}") from error
            if failures:  # the jobs have reported their errors
                return failures[0]
            if found := unreadable_file(user_config_dirs(parse_flags(command, args)), error):
                raise found from error
            raise
    return failures[0] if failures else 0


def parse_flags(command: str, args: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of `metarun train` or `metarun test` into Hydra's flags and `overrides`.

    Raises:
        UserError: a flag or its folder does not exist.
    """
    parser = get_args_parser()  # Hydra's own, so that every flag and abbreviation keeps its meaning
    parser.exit_on_error = False
    try:
        parsed, unknown = parser.parse_known_intermixed_args(args)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}", f"`metarun {command} --hydra-help` lists the flags.") from None
    if unknown:
        raise UserError(f"unknown flag {unknown[0]!r}", _instead_of(unknown[0], args, command))
    _check_folder("--config-dir", parsed.config_dir)
    return parsed


def hydra_args(command: str, args: list[str]) -> list[str]:
    """Return `args` in the form that Hydra needs: overrides before flags, folders absolute.

    Hydra rejects overrides on both sides of a flag, and resolves a relative `--config-path` against its Python file.
    """
    parsed = parse_flags(command, args)
    if parsed.multirun and parsed.cfg:
        raise UserError("--cfg shows the config of one run", "give each key one value, without -m.")
    if parsed.experimental_rerun:
        raise UserError("--experimental-rerun runs any code in its file", "use `metarun rerun RUN` to repeat a run.")
    folders = user_config_dirs(parsed)
    overrides = hydra_overrides(parsed.overrides, folders)
    check_overrides(command, overrides, folders)
    if command == "train" and not parsed.config_path and not parsed.config_name:  # conf/config.yaml
        overrides = [without_plus(override) for override in overrides]
    _check_sweep(overrides)
    flags = [arg for arg in args if arg not in parsed.overrides]
    if parsed.config_path and "://" not in parsed.config_path:
        _check_folder("--config-path", parsed.config_path)
        flags += ["--config-path", str(Path(parsed.config_path).resolve())]
    return [*overrides, *flags]


def _instead_of(flag: str, args: Sequence[str], command: str) -> str:
    """Return the remedy for an unknown flag: `algo=maml` for `--algo maml`."""
    name, equals, value = flag.lstrip("-").replace("-", "_").partition("=")
    if not equals:
        value = next(iter(args[args.index(flag) + 1 :]), "VALUE")
    if (config_dir() / name).is_dir() or "." in name or name in ("seed", "device", "trust"):
        return f"write {name}={value}, without dashes."
    return f"`metarun {command} --hydra-help` lists the flags."


def _check_folder(flag: str, folder: str | None) -> None:
    if folder and "://" not in folder and not is_folder(Path(folder)):
        raise UserError(f"{flag} {folder}: no such folder", "relative paths start at the current folder.")


def _check_sweep(overrides: Sequence[str]) -> None:
    """Refuse very large sweeps: Hydra lists all runs before it starts the first."""
    runs = 1
    try:
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            if override.is_discrete_sweep():
                runs *= sum(1 for _ in islice(override.sweep_string_iterator(), MAX_SWEEP_RUNS + 1))
    except Exception:  # Hydra will report what is wrong with them
        return
    if runs > MAX_SWEEP_RUNS:
        raise UserError(f"the sweep has more than {MAX_SWEEP_RUNS:,} runs", "give the keys fewer values.")


def user_config_dirs(flags: argparse.Namespace) -> list[Path]:
    """Return the user's folders among Hydra's flags."""
    return [Path(folder) for folder in (flags.config_dir, flags.config_path) if folder and is_folder(Path(folder))]


def _job(command: str, failures: list[int]) -> Callable[[DictConfig], Path | None]:
    """Return Hydra's task function, which reports its own errors and records its exit code.

    A launcher that runs all jobs in this process passes `shared`, in which tests keep what they loaded.
    """

    def job(config: DictConfig, shared: dict[str, Any] | None = None) -> Path | None:
        try:
            origins = HydraOrigins(config)
            origins.check_named()
            with using_origins(origins):
                return _execute(command, only_requested(config, origins) if command == "test" else config, shared)
        except (Exception, KeyboardInterrupt) as error:
            sweep = HydraConfig.get().mode == RunMode.MULTIRUN
            failures.append(report(error, job=" ".join(HydraConfig.get().overrides.task) if sweep else ""))
            if sweep and isinstance(error, Exception):
                return None  # the sweep continues with its other jobs
            raise SystemExit(failures[-1]) from None  # bypasses Hydra, which would print more lines

    # Hydra takes the name of the job from the module: `hydra.job.name` is the command.
    job.__module__ = f"metarun.{command}"
    job.failures = failures  # type: ignore[attr-defined]  # launchers add the exit codes of runs in other processes
    return job


def _execute(command: str, config: DictConfig, shared: dict[str, Any] | None) -> Path:
    """Train or test; return the directory of the run."""
    if missing := min(OmegaConf.missing_keys(config), default=None):
        raise UserError(REQUIRED.get(missing, f"{missing}=… is required: it has no default."))
    if command == "train" and "TORCHELASTIC_RUN_ID" not in os.environ:
        from metarun.runner.finished import show_finished  # imports scipy, which --help and --cfg do not need

        if (path := show_finished(config)) is not None:
            return path
    # Read by torch's OpenMP when it is loaded. Threads that spin longer while waiting for each other delay every
    # operation when other processes compete for the cores.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    say("loading torch …     ")
    with importing_torch():
        from metarun.runner.retest import retest
        from metarun.runner.train import train
    return train(config) if command == "train" else retest(config, shared)


@contextmanager
def _hydra_raises() -> Iterator[None]:
    """Make Hydra raise its errors instead of printing them and exiting, by the only switch that it has."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before
