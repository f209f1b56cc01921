"""How bright pictures are: dark ink on white looks to a network trained on light on dark like nothing it has seen."""

import numpy as np

from metarun.data.examples import Examples

LOOKED_AT = 1000  # examples, spread evenly: more would not move the mean by a hundredth
# Sets of photographs have means of 0.35 to 0.55. Light strokes on dark have 0.05 to 0.25, and the same inverted 0.75 to
# 0.95: at least 0.5 apart.
FAR = 0.3


def brightness(examples: Examples) -> tuple[float, float] | None:
    """Return the mean over examples of how bright each is, in [0, 1], and its sd over examples.

    None: they are float32, which need not be light at all.
    """
    if examples.values.dtype != np.uint8:
        return None
    rows = np.linspace(0, len(examples.values) - 1, min(LOOKED_AT, len(examples.values))).astype(np.int64)
    means = [float(examples.values[row].mean(dtype=np.float64)) / 255 for row in rows]
    return round(float(np.mean(means)), 4), round(float(np.std(means)), 4)


def compare_brightness(trained: float, tested: float) -> str | None:
    """Return what to say of pictures that are far brighter, or darker, than those trained on; None: they are not.

    Args:
        trained: mean of those trained on, in [0, 1].
        tested: of those to be tested on.
    """
    if abs(tested - trained) < FAR:
        return None
    return f"its pictures have a mean brightness of {tested:.2f} but those of training had {trained:.2f}"


def would_fit_inverted(trained: float, tested: float) -> bool:
    """Whether the pictures would be nearer to those of training with light for dark and dark for light."""
    return abs((1 - tested) - trained) < abs(tested - trained)
