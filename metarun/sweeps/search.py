"""`metarun train -m hydra/sweeper=optuna …`: looks for the settings that do best on meta-val.

A trial is an ordinary run. It is judged by its row's figure on meta-val; what it did on meta-test is not looked at.
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
from metarun.results.records import Record, read_result
from metarun.sweeps.job import Job
from metarun.sweeps.pool import Pool, room_for
from metarun.system.atomic_write import write_csv
from metarun.system.lock import exclusive_lock

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage
    from optuna.trial import FrozenTrial, Trial, TrialState

    from metarun.sweeps.search_space import Space, chosen
except ImportError as missing:
    raise UserError("hydra/sweeper=optuna needs Optuna: pip install 'metarun[optuna]'.") from missing

COLUMNS = ["trial", "state", "figure", "reason", "id"]


def search(
    config: DictConfig, loader: ConfigLoader, words: list[str], n_trials: int, name: str | None, seed: int, prune: bool
) -> bool:
    """Search, or go on with a search, until there were `n_trials` trials; write and print what was found.

    Args:
        config: of the sweep, with Hydra's own part.
        loader: Hydra's, which knows the configs.
        words: of the command.
        n_trials: in all.
        name: of the search; None: one that stands for `words`.
        seed: of the sampler.
        prune: whether to end runs that fall behind.

    Returns:
        Whether any trial came to its end.

    Raises:
        UserError: the words cannot be searched, or the name stands for another search.
        Interrupted: a signal came; the same command goes on.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    launcher = config.hydra.launcher
    if "PoolLauncher" not in launcher._target_:
        raise UserError("hydra/sweeper=optuna runs its trials in hydra/launcher=pool", "leave out the other launcher.")
    space = Space.of(words, loader)
    _check_composes(config, loader, space)
    identity = {"fixed": sorted(space.fixed), "free": {key: str(each) for key, each in space.free.items()}}
    name = name or "search-" + hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(config.results_dir) / "sweeps" / name
    with _alone_in(folder):
        study = _study(folder, identity, seed, prune)
        trials = _Trials(study, space, n_trials)
        pool = Pool(config, min(n_trials, launcher.n_jobs or room_for()), trials.left, trials.looked, trials.ended)
        pool.run(trials)
        return _report(study, folder)


def _check_composes(config: DictConfig, loader: ConfigLoader, space: Space) -> None:
    """Let Hydra refuse a mistyped key now, not in every trial."""
    middle = optuna.create_study().ask(space.free).params
    loader.load_configuration(
        config_name=config.hydra.job.config_name, overrides=space.words(middle), run_mode=RunMode.RUN
    )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    def refuse(more: str) -> None:
        raise UserError(f"another process is at this search ({folder})", f"wait for it, or stop it first.{more}")

    with exclusive_lock(folder / ".lock", refuse):
        yield


def _study(folder: Path, identity: dict[str, Any], seed: int, prune: bool) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.create_study(study_name="metarun", storage=storage, direction="maximize", load_if_exists=True)
    before = study.user_attrs.get("identity")
    if before is not None and before != identity:
        raise UserError(
            f"{folder} holds another search ({json.dumps(before)})", "choose another hydra.sweeper.study, or delete it."
        )
    study.set_user_attr("identity", identity)
    # A sampler that starts again at its seed would propose what it proposed before.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), constant_liar=True)
    study.pruner = optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner()
    return study


class _Trials:
    """The trials of a study as jobs of a pool, first those that a search before this one did not bring to their end."""

    def __init__(self, study: optuna.Study, space: Space, n_trials: int) -> None:
        self.study = study
        self.space = space
        self.n_trials = n_trials
        self.unfinished = [Trial(study, each._trial_id) for each in _in_state(study, TrialState.RUNNING)]
        self.done = len(study.trials) - len(self.unfinished)
        self.at_work: dict[int, Trial] = {}

    def left(self) -> int:
        """How many trials this call has, at work or to come."""
        return max(0, self.n_trials - self.done)

    def __iter__(self) -> Iterator[Job]:
        for started in range(self.left()):
            trial = self.unfinished.pop(0) if self.unfinished else self.study.ask(self.space.free)
            self.at_work[started] = trial
            yield Job(started, self.space.words(trial.params), " ".join(chosen(trial.params)))

    def looked(self, job: Job, step: int, score: float) -> bool:
        """Take note of a look at meta-val; return whether that run is to be ended."""
        trial = self.at_work[job.number]
        with warnings.catch_warnings():  # a run that went on from where it was stopped looks at a step again
            warnings.simplefilter("ignore")
            trial.report(score, step)
        return trial.should_prune()

    def ended(self, job: Job) -> None:
        """Take note of how a trial ended."""
        trial = self.at_work.pop(job.number)
        record = read_result(job.path / "result.json") if job.path and job.state == "done" else None
        if record is not None:
            trial.set_user_attr("run", str(job.path))
            self.study.tell(trial, _score(record))
        elif job.state == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("reason", job.reason)
            # The sampler passes over failed trials and would try again what diverged; pruned ones it takes for bad.
            diverged = job.code == 1
            self.study.tell(trial, state=TrialState.PRUNED if diverged else TrialState.FAIL)


def _in_state(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(state,))


def _score(record: Record) -> float:
    metric = metric_of(record)
    return metric.score(float(record[metric.val]))


def _report(study: optuna.Study, folder: Path) -> bool:
    """Write the tables of the trials and print the best of them; return whether there is one."""
    from metarun.sweeps.tables import write_tables  # pandas, which no run need wait for

    keys = sorted({key for trial in study.trials for key in trial.params})
    write_csv(folder / "trials.csv", [_row(trial) for trial in study.trials], [*COLUMNS[:3], *keys, *COLUMNS[3:]])
    complete = _in_state(study, TrialState.COMPLETE)
    write_tables(folder, [Path(trial.user_attrs["run"]) for trial in complete])
    counts = Counter(_how_it_ended(trial) for trial in study.trials)
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    print(f"{len(study.trials)} trials: {told} → {folder / 'trials.csv'}")
    for trial in study.trials:
        if _how_it_ended(trial) == "failed":
            print(f"failed: {' '.join(chosen(trial.params))}: {trial.user_attrs['reason']}")
    if not complete:
        return False
    best = study.best_trial
    run = Path(best.user_attrs["run"])
    metric = metric_of(read_result(run / "result.json") or {})
    figure = metric.text(metric.score(best.values[0])) + metric.unit
    print(f"best on meta-val: {' '.join(chosen(best.params))}, {metric.key} {figure} → {run}")
    return True


def _how_it_ended(trial: FrozenTrial) -> str:
    if "reason" in trial.user_attrs:
        return "failed"
    return {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned"}.get(trial.state, "unfinished")


def _row(trial: FrozenTrial) -> dict[str, Any]:
    run = trial.user_attrs.get("run")
    return {
        "trial": trial.number,
        "state": _how_it_ended(trial),
        "figure": abs(trial.values[0]) if trial.values else None,
        "reason": trial.user_attrs.get("reason"),
        "id": run and Path(run).name.rpartition("-")[2],
        **trial.params,
    }
