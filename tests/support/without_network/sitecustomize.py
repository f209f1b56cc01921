"""Block network access in every Python process with this folder in PYTHONPATH; only this machine is reachable.

Attempts are written to the file that ATTEMPTS names, because a thread may swallow the exception.
"""

import os
import sys
from pathlib import Path

HERE = {"127.0.0.1", "::1", "localhost", "", None}


def _forbid(event, args):
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        reached = address[0] if isinstance(address, tuple) else None  # else the path of a Unix socket
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        reached = args[0]
    else:
        return
    if (reached.decode() if isinstance(reached, bytes) else reached) not in HERE:
        with Path(os.environ["ATTEMPTS"]).open("a") as file:
            file.write(f"{event} {reached} by {sys.argv}\n")
        raise OSError(f"this test blocks the connection to {reached}")


sys.addaudithook(_forbid)
