"""How busy the machine is."""

import os

BUSY = 1.3  # processes per CPU; above this, times say little


def load_per_cpu() -> float:
    """Return how many processes per CPU were running or waiting to run in the last minute."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)
