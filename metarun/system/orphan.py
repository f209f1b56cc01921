"""A run of a sweep does not outlive the sweep: it saves and leaves when the process that started it is gone."""

import ctypes
import os
import signal
import sys

PARENT = "METARUN_PARENT"  # the environment variable that holds the process id of the sweep
_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


def die_with_parent() -> None:
    """Ask Linux for a SIGTERM when the sweep that started this process, if one did, is gone; elsewhere do nothing."""
    parent = os.environ.get(PARENT)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it is gone already
        raise SystemExit(128 + signal.SIGTERM)
