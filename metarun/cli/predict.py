"""`metarun predict`: the classes of new pictures, by a learner or by a run and its support set."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarun.cli.adapt import adapt, add_settings, given
from metarun.cli.parser import CommandParser
from metarun.errors import UserError, counted

if TYPE_CHECKING:
    from metarun.api import Learner
    from metarun.api.pictures import Pictures

EXAMPLES = """examples:
  metarun predict letters.npz new_pictures -o predictions.csv
  metarun predict letters.npz one.png other.png
  metarun predict run=RUN support=my_letters query=new_pictures
Pictures in folders named like the classes are labelled: accuracy and confusion matrix are printed too."""


def main(args: Sequence[str]) -> int:
    """Predict, write or print the table, and return the exit code.

    Raises:
        UserError: the learner, the run or the pictures do not exist or do not fit.
    """
    parser = CommandParser.with_examples("metarun predict", "Predict the classes of new pictures.", EXAMPLES)
    add_settings(parser, ("LEARNER QUERY", "or run", "support", "query"))
    parser.add_argument("-o", "--output", type=Path, help="a CSV file (default: printed)")
    options = parser.parse_args(args)
    if any("=" in word for word in options.settings[:1]):
        settings = given(options.settings, required=("run", "support", "query"))
        learner = adapt(settings["run"], Path(settings["support"]), options)
        places = [Path(settings["query"])]
    else:
        if len(options.settings) < 2:
            raise UserError("a learner and pictures are required", "see `metarun predict --help`.")
        from metarun.api import Learner

        learner, places = Learner.load(options.settings[0]), [Path(word) for word in options.settings[1:]]
    rows, right = [], []
    for place in places:
        found, known = _rows(learner, place, options.invert)
        rows += found
        right += known
    _write(rows, learner, options.output)
    _report(rows, right, learner, options.output)
    return 0


def _rows(learner: "Learner", place: Path, invert: bool) -> tuple[list[dict[str, Any]], list[tuple[Any, Any]]]:
    """Return a row for each picture, and (label, predicted) of those in a folder that is named like a class."""
    from metarun.api.pictures import read_pictures

    pictures: Pictures = read_pictures(learner.run, place, invert)
    names = {str(label): label for label in learner.classes}
    probabilities, unknown = learner.predict_known(pictures.values)
    rows: list[dict[str, Any]] = []
    known = []
    by_file = dict(zip(pictures.decoded, zip(probabilities, unknown, strict=True), strict=True))
    for number, (file, label, error) in enumerate(zip(pictures.files, pictures.labels, pictures.errors, strict=True)):
        if error:
            rows.append({"file": file, "class": "", "probability": "", "unknown": "", "error": error})
            continue
        of_classes, is_unknown = by_file[number]
        best = int(of_classes.argmax())
        each = {f"p({name})": f"{p:.4f}" for name, p in zip(names, of_classes, strict=True)}
        row = {"file": file, "class": learner.classes[best], "probability": f"{of_classes[best]:.4f}"}
        rows.append({**row, "unknown": "yes" if is_unknown else "no", "error": "", **each})
        if label in names:
            known.append((names[label], learner.classes[best]))
    return rows, known


def _write(rows: Sequence[dict[str, Any]], learner: "Learner", output: Path | None) -> None:
    columns = ["file", "class", "probability", "unknown", "error", *(f"p({name})" for name in learner.classes)]
    if output is None:
        _write_rows(sys.stdout, columns, rows)
        return
    from io import StringIO

    from metarun.system.atomic_write import write_text

    text = StringIO(newline="")
    _write_rows(text, columns, rows)
    write_text(output, text.getvalue())


def _write_rows(file: Any, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _report(
    rows: Sequence[dict[str, Any]], known: Sequence[tuple[Any, Any]], learner: "Learner", output: Path | None
) -> None:
    """Print counts, and what labelled pictures tell; on stderr where the table is on stdout."""
    to = sys.stderr if output is None else sys.stdout
    failed = sum(bool(row["error"]) for row in rows)
    unknown = sum(row["unknown"] == "yes" for row in rows)
    print(
        f"{counted(len(rows) - failed, 'picture')} predicted, {unknown:,} unknown"
        + (f", {counted(failed, 'picture')} could not be decoded" if failed else ""),
        file=to,
    )
    if known:
        print(f"accuracy {100 * sum(a == b for a, b in known) / len(known):.1f} % of {len(known):,} labelled", file=to)
        width = max(len(str(name)) for name in learner.classes)
        print(f"{'':{width}}  predicted {'  '.join(map(str, learner.classes))}", file=to)
        for name in learner.classes:
            counts = [sum((a, b) == (name, other) for a, b in known) for other in learner.classes]
            cells = "  ".join(
                f"{count:>{len(str(other))}}" for count, other in zip(counts, learner.classes, strict=True)
            )
            print(f"{name!s:{width}}            {cells}", file=to)
    if output is not None:
        print(f"→ {output}")
