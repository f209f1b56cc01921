"""`metarun doctor`: installed versions, device, available data, and problems to fix."""

import importlib
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from metarun.cli.data import sources
from metarun.cli.parser import CommandParser
from metarun.data.files.cache import mirror
from metarun.errors import counted
from metarun.results.provenance import processor, versions
from metarun.system.imports import importing_torch
from metarun.system.paths import data_root

IMPORTED = ("torch", "numpy", "scipy", "pandas", "pyarrow", "hydra", "omegaconf", "PIL", "matplotlib")
ENOUGH_DISK = 1.0  # GB; a run with its two checkpoints needs a few MB


class Finding(NamedTuple):
    """One line of the table; `fix` is a command or an instruction if something that metarun needs is broken."""

    what: str
    state: str
    fix: str = ""


def main(args: Sequence[str]) -> int:
    """Print the table and return the exit code: 0, or 1 if something that metarun needs is broken."""
    description = "Show versions, device and data; the last line says what to fix."
    parser = CommandParser("metarun doctor", description=description)
    parser.add_argument("--results-dir", default="results", help="where runs will be written (default: results)")
    options = parser.parse_args(args)

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    findings = [*_packages(), *_device(), *_data(), _learn2learn(), _disk(Path(options.results_dir))]
    table = Table("what", "found", show_header=False)
    for finding in findings:
        table.add_row(escape(finding.what), escape(finding.state), style="red" if finding.fix else "")
    console = Console()
    console.print(table)
    fixes = [finding.fix for finding in findings if finding.fix]
    last_line = f"To fix: {'; '.join(fixes)}." if fixes else "No problems found."
    console.print(last_line, markup=False, highlight=False, soft_wrap=True)
    return 1 if fixes else 0


def _packages() -> Iterator[Finding]:
    found = versions()
    for package, version in found.items():
        yield Finding(package, version)
    with importing_torch():
        for module in IMPORTED:
            try:
                importlib.import_module(module)
            except (ImportError, OSError, RuntimeError) as error:  # a missing package or shared library
                reason = str(error).partition("\n")[0]
                yield Finding(module, f"cannot be imported: {reason}", f"reinstall metarun ({module} is broken)")


def _device() -> Iterator[Finding]:
    import torch

    yield Finding("processor", f"{processor()}, {counted(torch.get_num_threads(), 'thread')}")
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield Finding("GPU", ", ".join(gpus) or "none; device=auto uses the CPU")


def _data() -> Iterator[Finding]:
    where = f"{data_root()}{'' if os.environ.get('METARUN_DATA') else ' (the default)'}"
    if os.access(_nearest_folder(data_root()), os.W_OK):
        yield Finding("METARUN_DATA", where)
    else:
        yield Finding("METARUN_DATA", f"{where} is not writable", "set METARUN_DATA to a writable folder")
    found = mirror()
    if isinstance(found, Path) and not found.is_dir():
        yield Finding("METARUN_MIRROR", f"{found}: no such folder", f"correct or unset METARUN_MIRROR={found}")
    else:
        yield Finding("METARUN_MIRROR", str(found or "not set; archives are downloaded from their official addresses"))
    for name, source in sources():
        yield Finding(f"data={name}", source.where() or f"not found: metarun data get {name}")


def _learn2learn() -> Finding:
    if find_spec("learn2learn"):
        return Finding("learn2learn", "installed; used by algo=l2l_maml, l2l_metasgd, l2l_anil and by the tests")
    needed = "only needed by algo=l2l_maml, l2l_metasgd, l2l_anil and some tests"
    return Finding("learn2learn", f"not installed, {needed}: run scripts/install_learn2learn.sh in a checkout")


def _nearest_folder(path: Path) -> Path:
    """The folder itself, or its nearest parent that exists."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())


def _disk(results_dir: Path) -> Finding:
    folder = _nearest_folder(results_dir)
    free = shutil.disk_usage(folder).free / 1e9
    what = f"free disk for {results_dir}"
    if not os.access(folder, os.W_OK):
        return Finding(what, f"{folder} is not writable", "set results_dir to a writable folder")
    return Finding(what, f"{free:,.1f} GB", "" if free > ENOUGH_DISK else f"free some disk space in {folder}")
