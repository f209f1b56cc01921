"""Keep the small files of a run, without its weights, in a folder that can be committed."""

import json
import re
from pathlib import Path

from metarun.results.run_directory import RunDirectory
from metarun.system.atomic_write import write_bytes, write_json

MAX_BYTES = 1_000_000  # of one file
OF_THE_PLACE = ("command", "directory", "host", "changes")  # of an environment: they say nothing about the numbers


def keep(run: RunDirectory, folder: Path) -> Path:
    """Copy config, environment and curve, and if the run is finished its row and the figures of its tasks.

    Names of folders and of the machine are removed. The row is written last, as in the run itself.

    Returns:
        The directory of the copy.

    Raises:
        UserError: a file cannot be written.
    """
    target = RunDirectory(folder / run.path.name)
    target.path.mkdir(parents=True, exist_ok=True)
    config = re.sub(r"(?m)^results_dir:.*$", "results_dir: results", run.config.read_text(encoding="utf-8"))
    config = re.sub(r"(?m)^run: .*/", "run: results/runs/", config)  # of a test
    write_bytes(target.config, config.encode())
    if (environment := run.read_environment()) is not None:
        write_json(target.environment, _without_place(environment))
    for path in (run.curve, run.tasks, run.result):
        if path.is_file() and path.stat().st_size <= MAX_BYTES:
            write_bytes(target.path / path.name, path.read_bytes())
    return target.path


def _without_place(environment: dict[str, object]) -> dict[str, object]:
    """Return the environment, and those of resumed and continued runs in it, without names of folders."""
    kept: dict[str, object] = json.loads(
        json.dumps(environment), object_hook=lambda node: {k: v for k, v in node.items() if k not in OF_THE_PLACE}
    )
    return kept
