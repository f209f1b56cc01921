"""Log metrics to a CSV file in the run's directory."""

from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path

from metarun.loggers.logger import LoggedRun, Outcome
from metarun.system.atomic_write import write_text

HEADER = "step,metric,value\n"


class Csv:
    """`metrics.csv`, in long format: step, metric, value.

    A step is a meta-training step; for the adaptation curves (`test/…_by_step`) it is an adaptation step.
    """

    def begin(self, run: LoggedRun) -> None:
        """Write the header and, if the run resumes, keep the rows up to its step."""
        path = run.path / "metrics.csv"
        write_text(path, HEADER + "".join(_rows_until(path, run.step)))
        self._file: TextIOWrapper = path.open("a", encoding="utf-8")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Append one row per metric."""
        self._file.write("".join(f"{step},{name},{value!r}\n" for name, value in figures.items()))
        self._file.flush()

    def conclude(self, step: int, figures: Mapping[str, float], by_step: Mapping[str, Sequence[float]]) -> None:
        """Append the rows of the meta-test."""
        self.log(step, figures)
        for name, values in by_step.items():
            for i, value in enumerate(values):
                self.log(i, {name: value})

    def close(self, outcome: Outcome) -> None:  # noqa: ARG002, a table does not store the outcome
        """Close the file."""
        self._file.close()


def _rows_until(path: Path, step: int) -> Iterator[str]:
    """Yield the meta-training rows up to a step; a killed process may have left later rows and a partial line."""
    if step == 0 or not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]:
        at, metric, *_ = line.split(",")
        if line.endswith("\n") and not metric.startswith("test/") and int(at) <= step:
            yield line
