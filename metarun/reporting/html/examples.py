"""Example tasks as HTML: pictures with predictions, or the chart of a regression task."""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from metarun.reporting.html.charts import wave
from metarun.results.example_tasks import ExampleTask, letter


@dataclass(frozen=True)
class Picture:
    """One thumbnail: the number of its picture on the strip and, for a query, the prediction."""

    number: int
    label: str
    predicted: str | None = None
    confidence: int | None = None  # percent

    @property
    def right(self) -> bool:
        """Whether the prediction is correct."""
        return self.predicted == self.label


@dataclass(frozen=True)
class ShownTask:
    """A task on the page: `rows` of (label, support, queries) with pictures from a strip, or a `chart`."""

    strip: str = ""
    rows: tuple[tuple[str, list[Picture], list[Picture]], ...] = ()
    chart: Markup | None = None

    @property
    def queries(self) -> list[Picture]:
        """All queries of the task."""
        return [picture for _, _, queries in self.rows for picture in queries]


class Strips:
    """The pictures of each task, side by side in one image; runs with the same task share it."""

    def __init__(self) -> None:
        self.rules: dict[str, str] = {}  # image → name of its CSS class
        self.counts: dict[str, int] = {}

    def add(self, pictures: NDArray[np.uint8]) -> str:
        """Add pictures (n, channels, height, width); return the CSS class of their strip."""
        image = _data_uri(pictures)
        name = self.rules.setdefault(image, f"strip{len(self.rules)}")
        self.counts[name] = len(pictures)
        return name

    def css(self) -> Markup:
        """The CSS rules, which contain only base64 and numbers."""
        return Markup("\n").join(
            Markup(".{}{{background-image:url({});--n:{}}}").format(name, image, self.counts[name])
            for image, name in self.rules.items()
        )


def shown(task: ExampleTask, strips: Strips) -> ShownTask:
    """Prepare a task for the page."""
    if task.regression:
        x, y, predicted = (array.ravel().tolist() for array in (task.query_x, task.query_y, task.predicted))
        support = list(zip(task.support_x.ravel().tolist(), task.support_y.ravel().tolist(), strict=True))
        truth, predictions = [*support, *zip(x, y, strict=True)], list(zip(x, predicted, strict=True))
        return ShownTask(chart=wave(support, truth, predictions))
    strip = strips.add(np.concatenate([task.support_x, task.query_x]))
    rows = []
    for label in np.unique(task.support_y):
        name = letter(label)
        support_pictures = [Picture(int(i), name) for i in np.flatnonzero(task.support_y == label)]
        queries = [
            Picture(
                len(task.support_x) + int(i), name, letter(task.predicted[i]), round(100 * float(task.confidence[i]))
            )
            for i in np.flatnonzero(task.query_y == label)
        ]
        rows.append((name, support_pictures, queries))
    return ShownTask(strip, tuple(rows))


def _data_uri(pictures: Sequence[Any] | NDArray[np.uint8]) -> str:
    """Put pictures side by side in one image: PNG if they are grey, else JPEG, which is a third of the size."""
    row = np.concatenate(list(pictures), axis=-1)  # (channels, height, n * width)
    grey = len(row) == 1
    image = Image.fromarray(row[0] if grey else np.ascontiguousarray(row.transpose(1, 2, 0)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if grey else "JPEG", **({"optimize": True} if grey else {"quality": 85}))
    return f"data:image/{'png' if grey else 'jpeg'};base64,{b64encode(buffer.getvalue()).decode()}"
