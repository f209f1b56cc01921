"""Log to TensorBoard."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from metarun.loggers.logger import LoggedRun, Outcome, import_for
from metarun.results.metrics import METRICS


class TensorBoard:
    """Event files in the run's `tensorboard/`: scalars, and the config in the HPARAMS tab.

    `tensorboard --logdir results/runs` shows all runs.
    """

    def __init__(self) -> None:
        self._library = import_for("tensorboard", "torch.utils.tensorboard")
        self._writer: Any = None

    def begin(self, run: LoggedRun) -> None:
        """Open an event file; readers discard later steps from earlier files (`purge_step`)."""
        folder = run.path / "tensorboard"
        if run.step == 0:
            shutil.rmtree(folder, ignore_errors=True)
        self._writer = self._library.SummaryWriter(str(folder), purge_step=run.step + 1 if run.step else None)
        if run.step == 0:
            # SummaryWriter.add_hparams would require the final metrics now and write them to another folder.
            figures = {f"test/{metric.key}": 0 for metric in METRICS}
            for summary in self._library.summary.hparams(dict(run.hyperparameters), figures):
                self._writer.file_writer.add_summary(summary)
            self._writer.flush()

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Add scalars."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def conclude(self, step: int, figures: Mapping[str, float], by_step: Mapping[str, Sequence[float]]) -> None:
        """Add the scalars of the meta-test; the steps of the curves are adaptation steps."""
        self.log(step, figures)
        for name, values in by_step.items():
            for i, value in enumerate(values):
                self._writer.add_scalar(name, value, i)

    def close(self, outcome: Outcome) -> None:  # noqa: ARG002, event files do not store the outcome
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
