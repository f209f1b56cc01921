"""Example tasks as HTML: pictures or texts with predictions, or the charts of a regression task."""

import io
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from metarun.errors import printable
from metarun.reporting.html.task_charts import predicted_rows, wave
from metarun.results.example_tasks import ExampleTask, letter


@dataclass(frozen=True)
class Shown:
    """One example: the number of its picture on the strip or its texts and, for a query, the prediction."""

    label: str
    number: int = 0
    cells: tuple[str, ...] = ()
    predicted: str | None = None
    confidence: int | None = None  # percent

    @property
    def right(self) -> bool:
        """Whether the prediction is correct."""
        return self.predicted == self.label


@dataclass(frozen=True)
class ShownTask:
    """A task on the page: `charts`, or `rows` of (label, support, queries).

    Args:
        rows: of each class.
        strip: the CSS class of the pictures' strip; "": examples are texts.
        columns: names of the texts, if they are columns of a row.
        axes: of a spectrogram, or of charts along one of several inputs; (): there are none.
        charts: of each target, in regression; of the trajectories of a policy.
        note: what the charts show, if they are of trajectories.
    """

    rows: tuple[tuple[str, list[Shown], list[Shown]], ...] = ()
    strip: str = ""
    columns: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    charts: tuple[Markup, ...] = ()
    note: str = ""

    @property
    def queries(self) -> list[Shown]:
        """All queries of the task."""
        return [example for _, _, queries in self.rows for example in queries]


class Strips:
    """The pictures of each task, side by side in one image; runs with the same task share it."""

    def __init__(self) -> None:
        self.rules: dict[str, str] = {}  # image → name of its CSS class
        self.counts: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, int]] = {}  # height and width of a picture

    def add(self, pictures: NDArray[np.uint8]) -> str:
        """Add pictures (n, channels, height, width); return the CSS class of their strip."""
        image = _data_uri(pictures)
        name = self.rules.setdefault(image, f"strip{len(self.rules)}")
        self.counts[name] = len(pictures)
        self.shapes[name] = (pictures.shape[2], pictures.shape[3])
        return name

    def css(self) -> Markup:
        """The CSS rules, which contain only base64 and numbers."""
        return Markup("\n").join(
            Markup(".{}{{background-image:url({});--n:{};aspect-ratio:{}}}").format(
                name, image, self.counts[name], _ratio(*self.shapes[name])
            )
            for image, name in self.rules.items()
        )


def shown(task: ExampleTask, strips: Strips) -> ShownTask:
    """Prepare a task for the page."""
    names = tuple(map(printable, task.names.tolist()))
    if task.regression:
        return ShownTask(charts=tuple(_charts(task, names)), axes=names)
    strip = "" if task.of_texts else strips.add(np.concatenate([task.support_x, task.query_x]))
    rows = []
    for label in np.unique(task.support_y):
        name = letter(label)
        support = [_shown(task, task.support_x, int(i), name) for i in np.flatnonzero(task.support_y == label)]
        queries = [
            replace(
                _shown(task, task.query_x, int(i), name, len(task.support_x)),
                predicted=letter(task.predicted[i]),
                confidence=round(100 * float(task.confidence[i])),
            )
            for i in np.flatnonzero(task.query_y == label)
        ]
        rows.append((name, support, queries))
    return ShownTask(tuple(rows), strip, *((names, ()) if task.of_texts else ((), names)))


def _shown(task: ExampleTask, examples: NDArray[Any], i: int, label: str, before: int = 0) -> Shown:
    if task.of_texts:
        return Shown(label, cells=tuple(map(printable, examples[i].tolist())))
    return Shown(label, before + i)


def _charts(task: ExampleTask, names: Sequence[str]) -> Iterator[Markup]:
    """Draw a regression task: as a function, or each target along one of several inputs."""
    x, support_x = task.query_x.ravel().tolist(), task.support_x.ravel().tolist()
    for target in range(task.query_y.shape[1]):
        of_support, truth, predicted = (
            list(zip(places, y[:, target].tolist(), strict=True))
            for places, y in ((support_x, task.support_y), (x, task.query_y), (x, task.predicted))
        )
        if names:
            yield predicted_rows(of_support, truth, predicted, names[0], names[1 + target])
        else:
            yield wave(of_support, [*of_support, *truth], predicted)


def _ratio(height: int, width: int) -> str:
    return "1" if height == width else f"{width}/{height}"


def _data_uri(pictures: Sequence[Any] | NDArray[np.uint8]) -> str:
    """Put pictures side by side in one image: PNG if they are grey, else JPEG, which is a third of the size."""
    row = np.concatenate(list(pictures), axis=-1)  # (channels, height, n * width)
    grey = len(row) == 1
    image = Image.fromarray(row[0] if grey else np.ascontiguousarray(row.transpose(1, 2, 0)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if grey else "JPEG", **({"optimize": True} if grey else {"quality": 85}))
    return f"data:image/{'png' if grey else 'jpeg'};base64,{b64encode(buffer.getvalue()).decode()}"
