"""Weights & Biases."""

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from metarun.loggers.logger import LoggedRun, Outcome, import_for


class Wandb:
    """A run of Weights & Biases, in the run's `wandb/`; metarun's id of the run is its id there too.

    Offline, every time that a run goes on leaves one more folder of it; `wandb sync --append` puts them together.

    Args:
        mode: offline writes files and nothing else; online sends them, as whom WANDB_API_KEY or `wandb login` says.
        project: what the run belongs to.
        entity: the user or team; None: the user's default.
        group: what the run is grouped under.
        tags: of the run.

    Raises:
        UserError: wandb is not installed.
    """

    def __init__(
        self,
        mode: Literal["offline", "online"],
        project: str,
        entity: str | None,
        group: str | None,
        tags: Sequence[str],
    ) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it would call home also when it is offline
        self._library = import_for("wandb", "wandb")
        self._asked = {"mode": mode, "project": project, "entity": entity, "group": group, "tags": list(tags)}
        self._run: Any = None

    def begin(self, run: LoggedRun) -> None:
        """Start a run or resume it."""
        if run.step == 0:
            shutil.rmtree(run.path / "wandb", ignore_errors=True)
        self._run = self._library.init(
            **self._asked,
            id=run.id,
            name=run.path.name,
            dir=str(run.path),
            config=dict(run.hyperparameters),
            resume="allow" if run.step and self._asked["mode"] == "online" else None,
            # The terminal is metarun's; a remote's address in the user's own checkout may hold a token.
            settings=self._library.Settings(console="off", silent=True, disable_git=True),
        )
        self._run.define_metric("adaptation_step", hidden=True)
        self._run.define_metric("test/*", step_metric="adaptation_step")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Add to the row of this step."""
        self._run.log(dict(figures), step=step)

    def conclude(self, step: int, figures: Mapping[str, float], by_step: Mapping[str, Sequence[float]]) -> None:  # noqa: ARG002
        """Put the meta-test's figures into the summary, and a row for each adaptation step into the history."""
        for i in range(max(map(len, by_step.values()))):
            self._run.log({"adaptation_step": i, **{name: values[i] for name, values in by_step.items()}})
        self._run.summary.update(dict(figures))

    def close(self, outcome: Outcome) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish(exit_code=0 if outcome == "finished" else 1)
