"""Pack a finished run into one file, and import such a file as a run."""

import json
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from metarun.api.model_card import model_card
from metarun.config.schema import Config
from metarun.errors import UserError, printable
from metarun.results import checksums, pack
from metarun.results.record_schema import schema_error
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory, run_path
from metarun.system.atomic_write import write_bytes
from metarun.system.parsing import parse_json, parse_yaml
from metarun.training import checkpoint
from metarun.training.resume import best_weights

_ID = re.compile("[0-9a-f]{8}")
_ORDER = "order"  # of the weights, in the metadata of the file


def publish(directory: RunDirectory, record: Record, config: Callable[[], Config], path: str | Path) -> Path:
    """Pack a run into one file that `unpack` reads: its config, weights, results, and a model card.

    Equal runs give equal files.

    Args:
        directory: of a finished run.
        record: its row.
        config: returns its resolved config; it may raise an error, for the card only.
        path: of the file to write, a zip.

    Returns:
        The path.

    Raises:
        UserError: a file of the run is damaged, or the pack cannot be written.
    """
    contents = {pack.CARD: model_card(record, config).encode()}
    for file in (directory.result, *directory.recorded, directory.test_uses):
        if file.is_file():
            content = file.read_bytes()
            checksums.check(file, content)
            contents[file.name] = content
    contents[pack.WEIGHTS] = _as_safetensors(best_weights(directory, record))
    pack.write(Path(path), contents)
    return Path(path)


def unpack(path: Path, results_dir: Path) -> tuple[RunDirectory, bool]:
    """Make the run in a file of `publish`; return its directory, and whether it is new.

    The file is untrusted: it is verified before anything is written, and nothing in it is executed.

    Args:
        path: of the file.
        results_dir: the directory of results.

    Raises:
        UserError: the file is damaged, of another version or not a run, or another run with this id exists.
    """
    contents = pack.read(path)
    try:
        record = _record(contents["result.json"])
        weights = _weights(contents.pop(pack.WEIGHTS))
        if not isinstance(parse_yaml(contents["config.yaml"]), dict):
            raise ValueError("its config.yaml is not a config")
    except UserError:
        raise
    except Exception as error:  # safetensors has an exception of its own
        reason = printable(" ".join(str(error).split()))
        raise UserError(f"{path} cannot be imported ({reason})", "ask for a new copy.") from None
    where = (record["algo"], record["data"], record["way"], record["shot"], record["id"])
    run = RunDirectory(run_path(results_dir, *where))
    with run.locked():
        is_new = not any(file.exists() for file in (run.result, run.last, run.previous))
        if is_new:
            _write(run, contents, weights)
        else:
            _check_equal(run, contents, weights)
    return run, is_new


def _record(content: bytes) -> Record:
    record = parse_json(content)
    if invalid := schema_error(record):
        raise ValueError(f"its result.json is not valid: {invalid}")
    assert isinstance(record, dict)
    if record["status"] != "done" or "trained_by" in record or not _ID.fullmatch(record["id"]):
        raise ValueError("its result.json is not that of a finished training run")
    return record


def _as_safetensors(weights: Mapping[str, Tensor]) -> bytes:
    """Return weights in the format of safetensors, which sorts them, with their order: checksums depend on it."""
    # Copies, because safetensors refuses weights that share memory.
    in_rows = torch.contiguous_format
    copies = {name: weight.detach().cpu().clone(memory_format=in_rows) for name, weight in weights.items()}
    content: bytes = _safetensors().save(copies, {_ORDER: json.dumps(list(copies))})
    return content


def _weights(content: bytes) -> dict[str, Tensor]:
    """Return the weights in a file of `_as_safetensors`, in their order.

    Raises:
        Exception: of several kinds, if it is another file.
    """
    found: dict[str, Tensor] = _safetensors().load(content)  # checks everything that the header states
    header: Any = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")])
    order: Any = parse_json(header.get("__metadata__", {}).get(_ORDER, "[]").encode())
    if sorted(order) != sorted(found):
        raise ValueError("the order of its weights is missing")
    return {name: found[name].clone() for name in order}  # in memory of their own, like a checkpoint's


def _safetensors() -> ModuleType:
    try:
        return import_module("safetensors.torch")
    except ImportError:
        raise UserError("the package safetensors is not installed", "run `pip install safetensors`.") from None


def _check_equal(run: RunDirectory, contents: Mapping[str, bytes], weights: Mapping[str, Tensor]) -> None:
    """Raise a UserError unless the run has the same files; the list of its meta-tests may have grown since."""
    if not run.result.exists():
        raise UserError(f"{run.path} is an unfinished run", "finish or remove it, or use another results directory.")
    names = [run.result.name, *(file.name for file in run.recorded)]
    equal = all(_content(run.path / name) == contents.get(name) for name in names)
    try:
        mine = checkpoint.load(run.best, run.id).get("algorithm")
    except UserError:
        mine = None
    if not equal or checkpoint.checksum(mine) != checkpoint.checksum(weights):
        raise UserError(
            f"{run.path} is another run with the same id", "remove it, or import into another results directory."
        )


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _write(run: RunDirectory, contents: Mapping[str, bytes], weights: Mapping[str, Tensor]) -> None:
    """Write the files of a run, its record last, as a training does; leave nothing behind if that fails."""
    try:
        checkpoint.save(run.best, {"run": run.id, "algorithm": dict(weights)})
        for name, content in contents.items():
            if name != run.result.name:
                write_bytes(run.path / name, content)
        listed = {file.name: contents[file.name] for file in run.recorded if file.name in contents}
        checksums.write(run.path, {**listed, run.result.name: contents[run.result.name]})
        write_bytes(run.result, contents[run.result.name])
    except BaseException:
        run.clear()
        for name in contents:
            (run.path / name).unlink(missing_ok=True)
        run.discard_if_unused()
        raise
