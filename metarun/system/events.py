"""What a run tells the sweep that started it: events, one JSON object a line, on a descriptor of their own.

So what is printed for people may be worded freely.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

DESCRIPTOR = "METARUN_EVENTS"  # the environment variable that holds its number
Event = Mapping[str, Any]

_descriptor: int | None = None


def listen_to_sweep() -> bool:
    """Take over the descriptor that a sweep has given this process, if one has; return whether it has.

    What this process starts in turn shall not write there, so the variable goes.
    """
    global _descriptor  # noqa: PLW0603, a process has one
    number = os.environ.pop(DESCRIPTOR, "")
    with suppress(ValueError, OSError):  # it is none, or not open
        os.set_inheritable(int(number), False)
        _descriptor = int(number)
    return _descriptor is not None


def in_sweep() -> bool:
    """Whether a sweep listens."""
    return _descriptor is not None


def emit(event: str, **facts: Any) -> None:
    """Tell the sweep, if one listens, what happened; a sweep that is gone hears nothing, and nothing fails.

    Args:
        event: what kind: phase, step, progress, validated, waiting, found, resumed, finished, failed.
        facts: plain values, by name.
    """
    if _descriptor is not None:
        with suppress(OSError):
            os.write(_descriptor, json.dumps({"event": event, **facts}).encode() + b"\n")


def read_events(stream: IO[bytes]) -> Iterator[Event]:
    """Yield events until the stream ends; a line that was cut off by a kill is none."""
    for line in stream:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            yield event
