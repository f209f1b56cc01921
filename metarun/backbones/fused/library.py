"""Compile the C++ sources for this processor once, keep the library beside the cached data, and load it."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from metarun.errors import UserError
from metarun.system.paths import data_root

log = logging.getLogger(__name__)

SOURCES = [Path(__file__).with_name(name) for name in ("kernels.cpp", "convolution.cpp")]
# Comparisons raise no exceptions that anyone reads; without this, selections are not vectorised. Sums keep their order.
OPTIONS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fno-trapping-math", "-fno-math-errno", "-fopenmp")
COMPILERS = ("g++", "clang++", "c++")
TIMEOUT = 300  # seconds


def why_not_compiled() -> str | None:
    """Compile and load the library if it is not yet; return None, or why that is not possible, as a clause."""
    return _load()[1]


def library() -> ctypes.CDLL:
    """Return the library.

    Raises:
        UserError: it cannot be compiled here.
    """
    loaded, reason = _load()
    if loaded is None:
        raise UserError(f"blocks cannot be compiled: {reason}", "set `train.compile=false`.")
    return loaded


@cache
def _load() -> tuple[ctypes.CDLL | None, str | None]:
    openmp = _torchs_openmp()
    if openmp is None:
        return None, "torch does not use GNU OpenMP here"
    ctypes.CDLL(openmp, mode=ctypes.RTLD_GLOBAL)  # the library shares torch's threads
    path = data_root() / "compiled" / f"{_key()}.so"
    try:
        if not path.exists() and (reason := _compile(path)):
            return None, reason
        return ctypes.CDLL(str(path)), None
    except OSError as error:
        return None, str(error)


def _key() -> str:
    """Return a hash of everything that determines the library, but the compiler: the first one's is kept."""
    parts = (*(source.read_bytes() for source in SOURCES), " ".join(OPTIONS).encode(), _processor().encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _torchs_openmp() -> str | None:
    """Return the path of the GNU OpenMP library that this process has loaded with torch."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:  # not Linux
        return None
    return next((line[line.index("/") :] for line in lines if "libgomp" in line.rpartition("/")[2]), None)


def _compile(path: Path) -> str | None:
    """Write the library to `path`; return None, or why that is not possible."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        return f"there is no C++ compiler ({', '.join(COMPILERS)} or $CXX)"
    log.info("compiling the blocks of networks, once for this machine")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        compiled, linked = [f"{folder}/{source.stem}.o" for source in SOURCES], Path(folder) / "kernels.so"
        commands = [
            [compiler, *OPTIONS, "-c", str(source), "-o", to] for source, to in zip(SOURCES, compiled, strict=True)
        ]
        commands.append([compiler, "-shared", *compiled, "-o", str(linked)])  # without OpenMP, which is torch's
        for command in commands:
            try:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
            except subprocess.CalledProcessError as error:
                return f"{compiler} failed: {error.stderr.strip().partition(chr(10))[0]}"
            except subprocess.TimeoutExpired:
                return f"{compiler} took longer than {TIMEOUT} s"
        linked.replace(path)
    return None
