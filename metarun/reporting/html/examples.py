"""Example tasks as HTML: pictures with what was said about them, or the wave of a regression task."""

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
    """One thumbnail: the number of its picture on the strip, and for a query what was said about it."""

    number: int
    label: str
    predicted: str | None = None
    confidence: int | None = None  # percent

    @property
    def right(self) -> bool:
        """Whether the query's class was predicted."""
        return self.predicted == self.label


@dataclass(frozen=True)
class ShownTask:
    """A task as the page shows it: `rows` of (label, support, queries) on a strip of pictures, or a `chart`."""

    strip: str = ""
    rows: tuple[tuple[str, list[Picture], list[Picture]], ...] = ()
    chart: Markup | None = None

    @property
    def queries(self) -> list[Picture]:
        """All queries that are shown."""
        return [picture for _, _, queries in self.rows for picture in queries]


class Strips:
    """The pictures of tasks, each task's side by side in one image; runs that saw the same task share it."""

    def __init__(self) -> None:
        self.rules: dict[str, str] = {}  # from the image to the name of its CSS class
        self.counts: dict[str, int] = {}

    def add(self, pictures: NDArray[np.uint8]) -> str:
        """Take in pictures (n, channels, height, width); return the CSS class of the strip."""
        image = _data_uri(pictures)
        name = self.rules.setdefault(image, f"strip{len(self.rules)}")
        self.counts[name] = len(pictures)
        return name

    def css(self) -> Markup:
        """The rules; nothing but base64 and numbers is in them."""
        return Markup("\n").join(
            Markup(".{}{{background-image:url({});--n:{}}}").format(name, image, self.counts[name])
            for image, name in self.rules.items()
        )


def shown(task: ExampleTask, strips: Strips) -> ShownTask:
    """Prepare a task for the page."""
    if task.regression:
        x, y, predicted = (array.ravel().tolist() for array in (task.query_x, task.query_y, task.predicted))
        support = list(zip(task.support_x.ravel().tolist(), task.support_y.ravel().tolist(), strict=True))
        truth, said = [*support, *zip(x, y, strict=True)], list(zip(x, predicted, strict=True))
        return ShownTask(chart=wave(support, truth, said))
    strip = strips.add(np.concatenate([task.support_x, task.query_x]))
    rows = []
    for label in np.unique(task.support_y):
        name = letter(label)
        seen = [Picture(int(i), name) for i in np.flatnonzero(task.support_y == label)]
        queries = [
            Picture(
                len(task.support_x) + int(i), name, letter(task.predicted[i]), round(100 * float(task.confidence[i]))
            )
            for i in np.flatnonzero(task.query_y == label)
        ]
        rows.append((name, seen, queries))
    return ShownTask(strip, tuple(rows))


def _data_uri(pictures: Sequence[Any] | NDArray[np.uint8]) -> str:
    """Lay pictures side by side: PNG where they are grey, JPEG, a third of the size, where they are photographs."""
    row = np.concatenate(list(pictures), axis=-1)  # (channels, height, n * width)
    grey = len(row) == 1
    image = Image.fromarray(row[0] if grey else np.ascontiguousarray(row.transpose(1, 2, 0)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if grey else "JPEG", **({"optimize": True} if grey else {"quality": 85}))
    return f"data:image/{'png' if grey else 'jpeg'};base64,{b64encode(buffer.getvalue()).decode()}"
