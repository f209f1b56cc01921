"""Log to Weights & Biases."""

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from metarun.loggers.logger import LoggedRun, Outcome, import_for


class Wandb:
    """A run of Weights & Biases, in the run's `wandb/`, with the same id as in metarun.

    Offline, each resume adds a folder; `wandb sync --append` merges them.

    Args:
        mode: offline only writes files; online uploads them with the account of WANDB_API_KEY or `wandb login`.
        project: of the run.
        entity: user or team; None: the user's default.
        group: of the run.
        tags: of the run.
    """

    def __init__(
        self,
        mode: Literal["offline", "online"],
        project: str,
        entity: str | None,
        group: str | None,
        tags: Sequence[str],
    ) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # otherwise sent even when offline
        self._library = import_for("wandb", "wandb")
        self._asked = {"mode": mode, "project": project, "entity": entity, "group": group, "tags": list(tags)}
        self._run: Any = None

    def begin(self, run: LoggedRun) -> None:
        """Start or resume a run."""
        if run.step == 0:
            shutil.rmtree(run.path / "wandb", ignore_errors=True)
        self._run = self._library.init(
            **self._asked,
            id=run.id,
            name=run.path.name,
            dir=str(run.path),
            config=dict(run.hyperparameters),
            resume="allow" if run.step and self._asked["mode"] == "online" else None,
            # metarun owns the terminal; the address of a git remote may contain a token.
            settings=self._library.Settings(console="off", silent=True, disable_git=True),
        )
        self._run.define_metric("adaptation_step", hidden=True)
        self._run.define_metric("test/*", step_metric="adaptation_step")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log metrics for this step."""
        self._run.log(dict(figures), step=step)

    def conclude(self, step: int, figures: Mapping[str, float], by_step: Mapping[str, Sequence[float]]) -> None:  # noqa: ARG002
        """Write the metrics of the meta-test to the summary, and one row per adaptation step to the history."""
        for i in range(max(map(len, by_step.values()))):
            self._run.log({"adaptation_step": i, **{name: values[i] for name, values in by_step.items()}})
        self._run.summary.update(dict(figures))

    def close(self, outcome: Outcome) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish(exit_code=0 if outcome == "finished" else 1)
