"""Events that a run sends to its sweep: one JSON object per line, on a file descriptor of their own.

Sweeps do not parse printed text, so its wording can change freely.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

DESCRIPTOR = "METARUN_EVENTS"  # the environment variable with its number
Event = Mapping[str, Any]

_descriptor: int | None = None


def connect_to_sweep() -> bool:
    """Take over the descriptor that a sweep passed to this process; return whether there is one.

    The variable is removed, so that child processes do not write to the descriptor.
    """
    global _descriptor  # noqa: PLW0603, a process has one
    number = os.environ.pop(DESCRIPTOR, "")
    with suppress(ValueError, OSError):  # not a number, or not open
        os.set_inheritable(int(number), False)
        _descriptor = int(number)
    return _descriptor is not None


def in_sweep() -> bool:
    """Whether a sweep receives the events."""
    return _descriptor is not None


def emit(event: str, **fields: Any) -> None:
    """Send an event to the sweep, if there is one. Nothing fails if the sweep is gone.

    Args:
        event: the kind: phase, step, progress, validated, waiting, found, resumed, finished, failed.
        fields: plain values, by name.
    """
    if _descriptor is not None:
        with suppress(OSError):
            os.write(_descriptor, json.dumps({"event": event, **fields}).encode() + b"\n")


def read_events(stream: IO[bytes]) -> Iterator[Event]:
    """Yield events until the stream ends; skip lines cut off by a kill."""
    for line in stream:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            yield event
