"""Compare the brightness of pictures: a network trained on light strokes fails on dark ink on white."""

import numpy as np

from metarun.data.examples import Examples

SAMPLE_SIZE = 1000  # examples, evenly spaced: more would change the mean by less than 0.01
# Sets of photographs have means of 0.35 to 0.55. Light strokes on dark have 0.05 to 0.25, and the same inverted 0.75 to
# 0.95: at least 0.5 apart.
MAX_DIFFERENCE = 0.3


def brightness(examples: Examples) -> tuple[float, float] | None:
    """Return the mean and sd over examples of their mean brightness in [0, 1]; None for float32, which has no range."""
    if examples.values.dtype != np.uint8:
        return None
    rows = np.linspace(0, len(examples.values) - 1, min(SAMPLE_SIZE, len(examples.values))).astype(np.int64)
    means = [float(examples.values[row].mean(dtype=np.float64)) / 255 for row in rows]
    return round(float(np.mean(means)), 4), round(float(np.std(means)), 4)


def compare_brightness(trained: float, tested: float) -> str | None:
    """Return a clause if test pictures are far brighter or darker than training pictures, else None.

    Args:
        trained: mean brightness of the training pictures, in [0, 1].
        tested: mean brightness of the test pictures, in [0, 1].
    """
    if abs(tested - trained) < MAX_DIFFERENCE:
        return None
    return f"its pictures have a mean brightness of {tested:.2f} but the training pictures had {trained:.2f}"


def is_closer_inverted(trained: float, tested: float) -> bool:
    """Whether inverting the test pictures would bring them closer to the training pictures."""
    return abs((1 - tested) - trained) < abs(tested - trained)
