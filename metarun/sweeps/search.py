"""`metarun train -m hydra/sweeper=optuna …`: search for the settings that do best on meta-val.

A trial is an ordinary run. Its objective is its result on meta-val; its meta-test result is not used.
"""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import DictConfig

from metarun.errors import UserError
from metarun.results.metrics import metric_of
from metarun.results.records import read_result
from metarun.sweeps.job import Job
from metarun.sweeps.pool import Pool, gpus
from metarun.system.atomic_write import write_csv
from metarun.system.lock import exclusive_lock
from metarun.system.machine import cores

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage
    from optuna.trial import FrozenTrial, Trial, TrialState

    from metarun.sweeps.search_space import Space, to_overrides
except ImportError as missing:
    raise UserError("hydra/sweeper=optuna needs Optuna: pip install 'metarun[optuna]'.") from missing

CORES_PER_TRIAL = 4  # trials learn from those that have ended, so fewer run at a time than in other sweeps
FIGURE = "figure"  # the result on meta-val, of a pruned trial the last one
COLUMNS = ["trial", "state", FIGURE, "reason", "id"]


def search(
    config: DictConfig,
    loader: ConfigLoader,
    overrides: list[str],
    n_trials: int,
    name: str | None,
    seed: int,
    prune: bool,
) -> bool:
    """Run or resume a search until it has `n_trials` trials; write and print the results.

    Args:
        config: of the sweep, including Hydra's part.
        loader: Hydra's config loader.
        overrides: of the command.
        n_trials: in total, including those of earlier calls.
        name: of the search; None: a name derived from `overrides`.
        seed: of the sampler.
        prune: whether to end trials that are worse than the median.

    Returns:
        Whether any trial finished.

    Raises:
        UserError: the overrides define no valid search space, or another search has this name.
        Interrupted: a signal arrived; the same command resumes the search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    launcher = config.hydra.launcher
    if "PoolLauncher" not in launcher._target_:
        raise UserError("hydra/sweeper=optuna requires hydra/launcher=pool", "omit the other launcher.")
    space = Space.of(overrides, loader)
    _check_composes(config, loader, space)
    identity = {"fixed": sorted(space.fixed), "free": {key: str(each) for key, each in space.free.items()}}
    name = name or "search-" + hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(config.results_dir) / "sweeps" / name
    with _locked(folder):
        study = _study(folder, identity, seed, prune)
        trials = _Trials(study, space, n_trials)
        n_jobs = min(n_trials, launcher.n_jobs or len(gpus()) or max(1, cores() // CORES_PER_TRIAL))
        Pool(config, n_jobs, trials.remaining, trials.on_validation, trials.on_end).run(trials)
        return _report(study, folder)


def _check_composes(config: DictConfig, loader: ConfigLoader, space: Space) -> None:
    """Compose one config, so that Hydra rejects a mistyped key now rather than in every trial."""
    params = optuna.create_study().ask(space.free).params
    loader.load_configuration(
        config_name=config.hydra.job.config_name, overrides=space.overrides(params), run_mode=RunMode.RUN
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    def refuse(more: str) -> None:
        raise UserError(f"another process is running this search ({folder})", f"wait for it, or stop it first.{more}")

    with exclusive_lock(folder / ".lock", refuse):
        yield


def _study(folder: Path, identity: dict[str, Any], seed: int, prune: bool) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.create_study(study_name="metarun", storage=storage, direction="maximize", load_if_exists=True)
    before = study.user_attrs.get("identity")
    if before is not None and before != identity:
        raise UserError(
            f"{folder} contains another search ({json.dumps(before)})",
            "choose another hydra.sweeper.study, or delete the folder.",
        )
    study.set_user_attr("identity", identity)
    # With the same seed, a new sampler would propose the same trials again.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), constant_liar=True)
    study.pruner = optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner()
    return study


class _Trials:
    """The trials of a study as jobs of a pool, starting with those that an earlier call left unfinished."""

    def __init__(self, study: optuna.Study, space: Space, n_trials: int) -> None:
        self.study = study
        self.space = space
        self.n_trials = n_trials
        self.unfinished = [Trial(study, each._trial_id) for each in _in_state(study, TrialState.RUNNING)]
        self.done = len(study.trials) - len(self.unfinished)
        self.running: dict[int, Trial] = {}

    def remaining(self) -> int:
        """Number of trials that this call runs."""
        return max(0, self.n_trials - self.done)

    def __iter__(self) -> Iterator[Job]:
        for number in range(self.remaining()):
            trial = self.unfinished.pop(0) if self.unfinished else self.study.ask(self.space.free)
            self.running[number] = trial
            yield Job(number, self.space.overrides(trial.params), " ".join(to_overrides(trial.params)))

    def on_validation(self, job: Job, step: int, score: float) -> bool:
        """Report a validation to Optuna; return whether to prune the run."""
        trial = self.running[job.number]
        with warnings.catch_warnings():  # a resumed run may validate a step again
            warnings.simplefilter("ignore")
            trial.report(score, step)
        return trial.should_prune()

    def on_end(self, job: Job) -> None:
        """Report the end of a trial to Optuna."""
        trial = self.running.pop(job.number)
        record = read_result(job.path / "result.json") if job.path and job.state == "done" else None
        if record is not None:
            metric = metric_of(record)
            value = float(record[metric.val])
            trial.set_user_attr("run", str(job.path))
            trial.set_user_attr(FIGURE, value)
            self.study.tell(trial, metric.score(value))
            return
        if job.value is not None:
            trial.set_user_attr(FIGURE, job.value)
        if job.state == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("reason", job.reason)
            # The sampler ignores failed trials and might propose the same values; it treats pruned ones as bad.
            diverged = job.code == 1
            self.study.tell(trial, state=TrialState.PRUNED if diverged else TrialState.FAIL)


def _in_state(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(state,))


def _report(study: optuna.Study, folder: Path) -> bool:
    """Write the tables of the trials and print the best trial; return whether there is one."""
    from metarun.sweeps.tables import write_tables  # pandas: imported when all runs have ended

    keys = sorted({key for trial in study.trials for key in trial.params})
    write_csv(folder / "trials.csv", [_row(trial) for trial in study.trials], [*COLUMNS[:3], *keys, *COLUMNS[3:]])
    complete = _in_state(study, TrialState.COMPLETE)
    write_tables(folder, [Path(trial.user_attrs["run"]) for trial in complete])
    counts = Counter(_state(trial) for trial in study.trials)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    print(f"{len(study.trials)} trials: {summary} → {folder / 'trials.csv'}")
    for trial in study.trials:
        if _state(trial) == "failed":
            print(f"failed: {' '.join(to_overrides(trial.params))}: {trial.user_attrs['reason']}")
    if not complete:
        return False
    best = study.best_trial
    run = Path(best.user_attrs["run"])
    metric = metric_of(read_result(run / "result.json") or {})
    figure = metric.text(metric.score(best.values[0])) + metric.unit
    print(f"best on meta-val: {' '.join(to_overrides(best.params))}, {metric.key} {figure} → {run}")
    return True


def _state(trial: FrozenTrial) -> str:
    if "reason" in trial.user_attrs:
        return "failed"
    return {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned"}.get(trial.state, "unfinished")


def _row(trial: FrozenTrial) -> dict[str, Any]:
    run = trial.user_attrs.get("run")
    return {
        "trial": trial.number,
        "state": _state(trial),
        FIGURE: trial.user_attrs.get(FIGURE),
        "reason": trial.user_attrs.get("reason"),
        "id": run and Path(run).name.rpartition("-")[2],
        **trial.params,
    }
