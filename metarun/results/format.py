"""How figures are written for people."""

from typing import Any

A_MILLION = 1e6


def percent(fraction: float | None, digits: int = 2) -> str:
    """Write a fraction in percent, without the sign: the column says it."""
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}"


def squared_error(value: float) -> str:
    """Write a squared error, one of a task that all but diverged in powers of ten."""
    return f"{value:.4f}" if value < A_MILLION else f"{value:.3g}"


def figure(record: dict[str, Any]) -> str:
    """Write what a run is judged by, with its 95 % interval: "98.12 ± 0.21" in percent, or a squared error."""
    if "mse" in record:
        half = record.get("mse_ci95")
        return f"mse {squared_error(record['mse'])}" + ("" if half is None else f" ± {squared_error(half)}")
    half = record.get("accuracy_ci95")
    return percent(record.get("accuracy")) + ("" if half is None else f" ± {percent(half)}")
