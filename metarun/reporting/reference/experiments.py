"""The experiments of `conf/experiment/`: what each repeats, what it takes, and its runs in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from metarun.config.folder import config_dir
from metarun.config.run_id import seedless_id
from metarun.errors import UserError
from metarun.reporting.reference.protocols import Protocol, protocols
from metarun.reporting.tables.published import figure_of
from metarun.reporting.tables.render import print_skipped
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory

FILE = Path(__file__).parent / "experiments.yaml"


@dataclass(frozen=True)
class Experiment:
    """A published result and the run that repeats it.

    Args:
        name: of the file in `conf/experiment/`.
        seedless: the id of its runs without their seed; if it is `trained_as` another, of its tests.
        hours: for one training on an otherwise idle machine, measured or estimated; see `experiments.yaml`.
        published: the section of that name in its file; None if there is no figure to compare with.
        protocol: None for an experiment of metarun's own.
        by_step: other figures that the paper gives, by number of inner steps.
        found: what an experiment has shown about a miss.
        trained_as: the name of the experiment whose weights it tests, as its paper does; None if it trains its own.
        test: overrides of `metarun test` that make its tasks, if it is trained as another.
    """

    name: str
    seedless: str
    hours: float
    published: Mapping[str, Any] | None
    protocol: Protocol | None
    by_step: Mapping[int, float] = field(default_factory=dict)
    found: str = ""
    trained_as: str | None = None
    test: Sequence[str] = ()

    @property
    def training(self) -> "Experiment":
        """The experiment that trains the weights: itself, or the one that it is trained as."""
        return self if self.trained_as is None else experiments()[self.trained_as]

    @property
    def figure(self) -> float | None:
        """The published accuracy or error."""
        return None if self.published is None else figure_of(dict(self.published))


@dataclass(frozen=True)
class StoredRun:
    """A training of an experiment in some folder, or a test of one.

    Args:
        directory: of the run.
        record: None if the run is not finished.
    """

    directory: RunDirectory
    record: Record | None

    @property
    def config(self) -> Mapping[str, Any]:
        """Its settings."""
        found: Mapping[str, Any] = yaml.safe_load(self.directory.config.read_text(encoding="utf-8"))
        return found

    @property
    def is_done(self) -> bool:
        """Whether it has a result."""
        return self.record is not None and self.record["status"] == "done"


@cache
def experiments() -> Mapping[str, Experiment]:
    """Return all experiments by name."""
    found = {}
    for name, about in sorted(yaml.safe_load(FILE.read_text(encoding="utf-8")).items()):
        config = yaml.safe_load((config_dir() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8"))
        protocol = protocols().get(about.pop("protocol", ""))
        found[name] = Experiment(name, published=config.get("published"), protocol=protocol, **about)
    return found


def stored_runs(folder: Path) -> Mapping[str, Sequence[StoredRun]]:
    """Return the runs in a folder by their id without the seed, ordered by seed; damaged ones are named.

    Tests are found once they are finished.
    """
    found: dict[str, list[tuple[int, StoredRun]]] = {}
    for path in sorted(folder.glob("*-*")):
        directory = RunDirectory(path)
        if directory.config.is_file():
            try:
                record = directory.read_result()
                config = yaml.safe_load(directory.config.read_text(encoding="utf-8"))
                if "run" in config and "seedless_id" not in (record or {}):  # a test, whose id depends on the training
                    continue
                seed, seedless = _seed_and_id(config, record)
            except (UserError, OSError, ValueError, KeyError, yaml.YAMLError) as error:
                print_skipped(error.problem if isinstance(error, UserError) else f"{path} ({error})")
                continue
            record = None if record is None else {**record, "path": str(path)}
            found.setdefault(seedless, []).append((seed, StoredRun(directory, record)))
    return {name: [run for _, run in sorted(runs, key=lambda each: each[0])] for name, runs in found.items()}


def _seed_and_id(config: Mapping[str, Any], record: Record | None) -> tuple[int, str]:
    """Return the seed of a run and its id without the seed, which a run of an earlier version does not have."""
    if record is not None and "seedless_id" in record:
        return int(record["seed"]), str(record["seedless_id"])
    plain = {str(key): value for key, value in config.items() if key not in ("defaults", "hydra")}
    return int(config["seed"]), seedless_id(plain)
