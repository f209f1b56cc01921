"""The run whose features `task.labels=clusters` clusters; without torch, as finished runs are shown."""

from pathlib import Path

from metarun.config.schema import Config
from metarun.errors import UserError
from metarun.results.find_run import find_run

PIXELS = "pixels"  # `task.embedding` of the numbers of the examples themselves


def with_embedding_path(config: Config) -> Config:
    """Return a resolved config in which `task.embedding` is the absolute path of the run that it names, if one."""
    task = config["task"]
    if task.get("labels", "classes") != "clusters" or task["embedding"] == PIXELS:
        return config
    try:
        run = find_run(Path(config["results_dir"]), task["embedding"])
    except UserError as error:
        problem = error.problem.replace("run=", "task.embedding=", 1)
        raise UserError(problem, f"{(error.remedy or '').rstrip('.')}; `{PIXELS}` needs no run.") from error
    return {**config, "task": {**task, "embedding": str(run.path.resolve())}}
