"""`metarun train` and `metarun test`: everything after the verb is Hydra's own command line."""

import argparse
import os
import re
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
from metarun.cli.hydra_errors import unreadable_file
from metarun.cli.origins import HydraOrigins
from metarun.cli.quoting import readable
from metarun.config.compose import config_dir
from metarun.config.key_origins import using_origins
from metarun.config.schema import register
from metarun.errors import UserError
from metarun.system.events import connect_to_sweep
from metarun.system.paths import is_folder
from metarun.system.secrets import refuse_secrets
from metarun.system.signals import die_with_parent

MOST_RUNS = 100_000  # of a sweep
PRIMARY_CONFIGS = {"train": "config", "test": "test"}  # conf/config.yaml, conf/test.yaml

# What to say where a key without a default was not given.
NEEDED = {
    "run": "run=RUN is needed: a run's directory or the first characters of its id; `metarun compare` lists them."
}


def run_under_hydra(verb: str, words: list[str]) -> int:
    """Compose the config that `words` ask for and run `verb` on it, once or as a sweep.

    Returns:
        The exit code; of a sweep in which jobs failed, that of the first of them.

    Raises:
        UserError: a flag or a folder that does not exist, or a password among the words.
    """
    die_with_parent()
    connect_to_sweep()
    refuse_secrets(words)
    register()
    sys.path.append(str(Path.cwd()))  # a user's own classes are found where the command is run
    failures: list[int] = []
    sys.argv = ["metarun", *hydra_words(verb, words)]
    main = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=PRIMARY_CONFIGS[verb])
    with _hydra_raises():
        try:
            main(_job(verb, failures))()
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 0
        except Exception as error:
            if type(error) in (ValueError, TypeError) and not failures:  # how Hydra refuses task=3 or -m --cfg job
                raise UserError(f"metarun {verb} {' '.join(words)}: {error}") from error
            if failures:  # the jobs have said what was wrong with them
                return failures[0]
            if found := unreadable_file(_folders(words), error):
                raise found from error
            raise
    return failures[0] if failures else 0


def hydra_words(verb: str, words: list[str]) -> list[str]:
    """Return `words` as Hydra needs them: overrides before flags, folders absolute.

    Hydra refuses overrides on both sides of a flag, and takes a relative `--config-path` from its Python file.
    """
    parser = get_args_parser()  # Hydra's own, so that every flag and abbreviation means what it means there
    parser.exit_on_error = False
    try:
        args, unknown = parser.parse_known_intermixed_args(words)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}", f"`metarun {verb} --hydra-help` lists the flags.") from None
    if unknown:
        raise UserError(f"there is no flag {unknown[0]!r}", f"`metarun {verb} --hydra-help` lists the flags.")
    if args.experimental_rerun:
        raise UserError("--experimental-rerun runs whatever code its file holds", "`metarun rerun RUN` repeats a run.")
    _check_folder("--config-dir", args.config_dir)
    overrides = [readable(_without(_as_text(override))) for override in args.overrides]
    _check_sweep(overrides)
    flags = [word for word in words if word not in args.overrides]
    if args.config_path and "://" not in args.config_path:
        _check_folder("--config-path", args.config_path)
        flags += ["--config-path", str(Path(args.config_path).resolve())]
    return [*overrides, *flags]


def _as_text(override: str) -> str:
    """Quote the ids in run=…: Hydra would read 12e45678 as a number."""
    runs = re.fullmatch(r"run=([\w.,/ -]+)", override)
    return "run=" + ",".join(f"'{run}'" for run in runs[1].split(",")) if runs else override


def _without(override: str) -> str:
    """Return how Hydra wants to be told that a group is done without: it takes null in YAML files alone."""
    done_without = re.fullmatch(r"(recipe|experiment|local|debug|logger)=null", override)
    return f"~{done_without[1]}" if done_without else override


def _check_folder(flag: str, folder: str | None) -> None:
    if folder and "://" not in folder and not is_folder(Path(folder)):
        raise UserError(f"{flag} {folder}: there is no such folder", "it is taken from where the command is run.")


def _check_sweep(overrides: Sequence[str]) -> None:
    """Refuse more runs than anybody waits for: Hydra lists them all before it begins with the first."""
    runs = 1
    try:
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            if override.is_discrete_sweep():
                runs *= sum(1 for _ in islice(override.sweep_string_iterator(), MOST_RUNS + 1))
    except Exception:  # Hydra will say what is wrong with them
        return
    if runs > MOST_RUNS:
        raise UserError(f"these words ask for a sweep of more than {MOST_RUNS:,} runs", "name fewer values.")


def _folders(words: list[str]) -> list[Path]:
    """Where the user's own YAML files lie."""
    args, _ = get_args_parser().parse_known_intermixed_args(words)
    return [Path(folder) for folder in (args.config_dir, args.config_path) if folder and is_folder(Path(folder))]


def _job(verb: str, failures: list[int]) -> Callable[[DictConfig], Path | None]:
    """Return the task function for Hydra, which says by itself what goes wrong in it and notes its exit code.

    A launcher that runs one job after another in this process hands in `shared`, where tests keep what they loaded.
    """

    def job(config: DictConfig, shared: dict[str, Any] | None = None) -> Path | None:
        try:
            origins = HydraOrigins(config)
            origins.check_named()
            with using_origins(origins):
                return _perform(verb, _as_asked(config, origins) if verb == "test" else config, shared)
        except (Exception, KeyboardInterrupt) as error:
            sweep = HydraConfig.get().mode == RunMode.MULTIRUN
            failures.append(report(error, job=" ".join(HydraConfig.get().overrides.task) if sweep else ""))
            if sweep and isinstance(error, Exception):
                return None  # the sweep goes on with its other jobs
            raise SystemExit(failures[-1]) from None  # past Hydra, which would add lines of its own

    # Hydra takes the name of the job from the module: `hydra.job.name` is the verb.
    job.__module__ = f"metarun.{verb}"
    job.failures = failures  # type: ignore[attr-defined]  # where runs in other processes put their exit codes
    return job


def _as_asked(config: DictConfig, origins: HydraOrigins) -> DictConfig:
    """Return the config of `metarun test` without settings of tasks that nobody asked for: the run's own stay.

    A data set's YAML may set them for its training, as data=sinusoid chooses task=10points.
    """
    asked = config.copy()
    for group in ("task", "test"):
        for key, value in config[group].items():
            if value is not None and not origins.is_by_hand(f"{group}.{key}"):
                asked[group][key] = None
    return asked


def _perform(verb: str, config: DictConfig, shared: dict[str, Any] | None) -> Path:
    """Do the verb's work; return the directory of the run."""
    if missing := min(OmegaConf.missing_keys(config), default=None):
        raise UserError(NEEDED.get(missing, f"{missing}= is needed: no default stands for it."))
    if verb == "train" and "TORCHELASTIC_RUN_ID" not in os.environ:
        from metarun.runner.finished import show_finished  # scipy, which --help and --cfg do without

        if (path := show_finished(config)) is not None:
            return path
    # Read by torch's OpenMP when it is loaded: threads that spin for longer while they wait for each other make every
    # operation wait for the scheduler where other processes want the cores too.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if verb == "train":
        from metarun.runner.train import train  # torch: nothing before this line needs it

        return train(config)
    from metarun.runner.retest import retest

    return retest(config, shared)


@contextmanager
def _hydra_raises() -> Iterator[None]:
    """Let Hydra raise its errors instead of printing them and leaving: it knows one way to be told so."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before
