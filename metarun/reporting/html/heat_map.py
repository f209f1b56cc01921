"""A heat map by way and shot as inline SVG."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from metarun.reporting.html.axes import LEFT, WIDTH, Range, svg, widened
from metarun.reporting.html.entries import of_rows
from metarun.system.ranges import ends

Cell = tuple[float, Sequence[str], Sequence[int]]  # accuracy in percent, lines of text, rows of the table


def heat_map(cells: Mapping[tuple[int | str, int | str], Cell], colours: Range) -> Markup:
    """Draw a heat map with one row per way and one column per shot.

    Args:
        cells: by (way, shot); all lines of text but the first are small.
        colours: the accuracies of the palest and the strongest colour.
    """
    ways, shots = (sorted({key[i] for key in cells}, key=ends) for i in (0, 1))
    lines = max(len(texts) for _, texts, _ in cells.values())
    width, height = min(72.0, (WIDTH - LEFT) / len(shots)), 16 + 13 * lines
    inside = [Markup('<text class="unit" x="0" y="11">way ↓ &#160; shot →</text>')]
    for column, shot in enumerate(shots):
        inside.append(
            Markup('<text class="tick" x="{:.1f}" y="28" text-anchor="middle">{}</text>').format(
                LEFT + (column + 0.5) * width, shot
            )
        )
    for row, way in enumerate(ways):
        top = 34 + row * height
        inside.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(LEFT - 8, top + 24, way)
        )
        for column, shot in enumerate(shots):
            if (way, shot) in cells:
                inside.append(_cell(LEFT + column * width, top, width - 3, height - 3, cells[way, shot], colours))
    return svg(inside, 34 + height * len(ways), "accuracy by way and shot")


def _cell(x: float, y: float, width: float, height: float, cell: Cell, colours: Range) -> Markup:
    value, texts, rows = cell
    low, high = widened(*colours, 0.0)
    strength = 0.12 + 0.83 * (value - low) / (high - low)
    inside = [
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="3" style="opacity:{:.2f}"/>').format(
            x, y, width, height, strength
        )
    ]
    for line, text in enumerate(texts):
        inside.append(
            Markup('<text{} x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
                Markup(' class="small"') if line else "", x + width / 2, y + 18 + 13 * line, text
            )
        )
    kind = "cell strong" if strength > 0.6 else "cell"
    return Markup('<g class="{}" {}>{}</g>').format(kind, of_rows(rows), Markup("").join(inside))
