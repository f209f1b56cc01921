"""Write a run in a format, check it on real tasks, and describe it."""

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metarun.api.run import Run
from metarun.errors import UserError, describe_exception
from metarun.export.card import card, metadata
from metarun.export.check import Checked, check
from metarun.export.formats import find_format
from metarun.export.graph import INPUTS, trace
from metarun.export.methods import EXPORTED, check_exportable
from metarun.export.model import OUTPUT
from metarun.export.request import Request
from metarun.system.atomic_write import write_json, write_text

METADATA = "metadata.json"
TASKS = 100  # on which a model is compared with torch


@dataclass(frozen=True)
class Exported:
    """A finished export.

    Args:
        folder: with the model, `README.md`, `metadata.json` and `example.npz`.
        megabytes: of the model.
        load_ms: milliseconds to load it.
        checked: the comparison with torch.
    """

    folder: Path
    megabytes: float
    load_ms: float
    checked: Checked


def export(
    run: Run,
    name: str,
    output: Path | None = None,
    *,
    way: int | None = None,
    steps: int | None = None,
    tasks: int = TASKS,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write a run's adaptation and prediction as one model that other programs load.

    The folder appears at once and complete, or not at all.

    Args:
        run: a finished training run.
        name: of the format, see `FORMATS`.
        output: the folder; None: the name of the run and of the format, in the current folder.
        way: classes per task, for a method without a fixed head; None: that of the run's meta-test.
        steps: of adaptation; None: those of the run's meta-test.
        tasks: meta-test tasks on which the model is compared with torch.
        on_progress: called with a line for each stage.

    Raises:
        UserError: the method or the format cannot be exported here, the folder exists, or the model differs from torch.
    """
    module = find_format(name)
    request = Request.of(run, way, steps)
    check_exportable(run, request.fields)
    if tasks < 1:
        raise UserError(f"--tasks={tasks} but at least 1 is needed for the check", "raise it.")
    folder = output or Path(f"{run.path.resolve().name}-{name}")
    _check_free(folder)
    example = request.example()
    started = time.perf_counter()
    try:
        program = trace(request.algorithm, example, request.steps)
    except UserError:
        raise
    except Exception as error:  # torch raises many kinds, and a network of yours any
        what = describe_exception(f"algo={run.result['algo']} with this network cannot be traced", error)
        remedy = f"with metarun's networks these methods can be exported: {', '.join(EXPORTED)}."
        raise UserError(what.rstrip("."), remedy) from error
    on_progress(f"traced {len(program.graph.nodes):,} operators in {time.perf_counter() - started:.0f} s")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the packages' own, of their internals
            module.write(program, temporary)
            started = time.perf_counter()
            solve = module.load(temporary)
        load_ms = 1000 * (time.perf_counter() - started)
        on_progress(f"wrote {module.FILE} ({_size(temporary) / 2**20:.2f} MB)")
        checked = check(name, solve, request, tasks, lambda done, of: on_progress(f"checked {done:,} of {of:,} tasks"))
        size = _size(temporary)
        about = metadata(name, module, request, checked, {"bytes": size, "load_ms": round(load_ms, 1)})
        inputs = {name: tensor.numpy() for name, tensor in zip(INPUTS, example.inputs, strict=True)}
        np.savez_compressed(temporary / "example.npz", **inputs, **{OUTPUT: solve(*inputs.values())})  # type: ignore[arg-type]
        write_json(temporary / METADATA, about)
        write_text(temporary / "README.md", card(about, module, request))
        temporary.chmod(0o755)  # mkdtemp's is for its owner alone
        _check_free(folder)
        os.replace(temporary, folder)  # noqa: PTH105, replaces an empty folder too
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror or error})", "name another with -o.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(folder, size / 2**20, load_ms, checked)


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already", "remove it, or name another folder with -o.")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
