"""`metarun predict`: the classes or numbers of new examples, by a learner or by a run and its support set."""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from metarun.cli.adapt import adapt, add_settings, progress
from metarun.cli.output import named_by_flag
from metarun.cli.parser import CommandParser
from metarun.cli.settings import read_settings
from metarun.cli.trust import split_trust
from metarun.errors import UserError, counted
from metarun.system.imports import importing_torch

if TYPE_CHECKING:
    from metarun.api import Learner
    from metarun.api.predictions import Predictions
    from metarun.data.own.found import Examples

EXAMPLES = """examples:
  metarun predict letters.npz new_pictures -o predictions.csv
  metarun predict letters.npz one.png other.png
  metarun predict run=RUN support=my_letters query=new_pictures
  metarun predict intents.npz new_questions.csv --picture answers.png
Examples in folders named after their classes, or in a table with a column of classes, are labelled: the accuracy and
the confusion matrix are printed too."""
PICTURE = "--picture"


def main(args: Sequence[str]) -> int:
    """Predict, write or print the table, and return the exit code."""
    parser = CommandParser.with_examples("metarun predict", "Predict the classes of new examples.", EXAMPLES)
    add_settings(parser, "LEARNER QUERY or run=… support=… query=…")
    where = "where the run is (default: results; for a learner, where its run was at the time)"
    parser.add_argument("--results-dir", type=Path, help=where)
    parser.add_argument("-o", "--output", type=Path, help="a CSV file (default: printed)")
    parser.add_argument(PICTURE, type=Path, help="draw the support set and the surest and least sure answers")
    words, trust = split_trust(args)
    options = parser.parse_intermixed_args(words)
    if options.picture is not None:  # before the work, not after it
        from metarun.reporting.plots.style import figure_format

        figure_format(options.picture, PICTURE)
    table = sys.stdout
    # A printed table is a CSV file for whoever redirects it, so everything else that is printed goes to stderr.
    with redirect_stdout(sys.stderr if options.output is None else table):
        learner, support, places = _learner(options, trust)
        found = [_predict(learner, place, options.invert) for place in places]
        predictions = [each for _, each in found]
        _write(predictions, options.output, table)
        _report(predictions, learner, found[0][0].noun)
        if options.output is not None:
            print(f"→ {options.output}")
        if options.picture is not None:
            from metarun.api.answers import answers_to_draw
            from metarun.reporting.plots.answers import draw_answers
            from metarun.reporting.plots.style import write_figure

            rows = answers_to_draw(learner, [examples for examples, _ in found], predictions, support)
            write_figure(options.picture, lambda: draw_answers(rows), PICTURE)
            print(f"→ {options.picture}")
    return 0


def _learner(options: argparse.Namespace, trust: Sequence[str]) -> "tuple[Learner, Examples | None, list[Path]]":
    """Return the learner, its support set if it is adapted now, and where the examples to predict are."""
    if any("=" in word for word in options.settings[:1]):
        settings = read_settings(options.settings, ("run", "support", "query"), "predict")
        learner, support = adapt(settings["run"], Path(settings["support"]), options, trust)
        return learner, support, [Path(settings["query"])]
    if len(options.settings) < 2:
        raise UserError("a learner and examples are required", "see `metarun predict --help`.")
    path, *places = map(Path, options.settings)
    if options.steps is not None:
        raise UserError(f"--steps {options.steps} but {path} is adapted already", "pass --steps to `metarun adapt`.")
    with importing_torch():
        from metarun.api import Learner
    return Learner.load(path, trust=trust, results_dir=options.results_dir), None, places


def _predict(learner: "Learner", place: Path, invert: bool) -> "tuple[Examples, Predictions]":
    from metarun.api.predictions import predict_examples
    from metarun.system.memory import keep_freed_memory

    keep_freed_memory()
    examples = learner.read(place, invert, progress(f"reading {place}"))
    if examples.skipped:
        print(f"{place}: {examples.skipped}", file=sys.stderr)
    return examples, predict_examples(learner, examples, progress(f"predicting {place}"))


def _write(predictions: "Sequence[Predictions]", output: Path | None, stdout: IO[str]) -> None:
    if output is None:
        _write_rows(stdout, predictions)
        return
    from metarun.system.atomic_write import write_text

    text = StringIO(newline="")
    _write_rows(text, predictions)
    with named_by_flag():
        write_text(output, text.getvalue())


def _write_rows(file: IO[str], predictions: "Sequence[Predictions]") -> None:
    writer = csv.DictWriter(file, predictions[0].columns, restval="", lineterminator="\n")
    writer.writeheader()
    for each in predictions:
        writer.writerows(each.rows)


def _report(predictions: "Sequence[Predictions]", learner: "Learner", noun: str) -> None:
    """Print counts, and what examples with a class or target tell."""
    failed = sum(each.failed for each in predictions)
    done = sum(len(each.rows) for each in predictions) - failed
    unknown = f", {sum(each.unknown for each in predictions):,} unknown" if learner.classes else ""
    undecoded = f", {counted(failed, noun)} could not be decoded" if failed else ""
    print(f"{counted(done, noun)} predicted{unknown}{undecoded}")
    if other := sum(each.other for each in predictions):
        print(f"{counted(other, noun)} of classes outside the support set, not counted below")
    known = [pair for each in predictions for pair in each.known]
    if known:
        _report_classes(known, learner.classes)
    squared = [error for each in predictions if each.squared_errors is not None for error in each.squared_errors]
    if squared:
        root = [(sum(errors) / len(squared)) ** 0.5 for errors in zip(*squared, strict=True)]
        names = predictions[0].columns[1:-1]
        each_target = ", ".join(f"{name} {error:.4g}" for name, error in zip(names, root, strict=True))
        print(f"root mean squared error over {counted(len(squared), noun)} with targets: {each_target}")


def _report_classes(known: Sequence[tuple[Any, Any]], classes: Sequence[Any]) -> None:
    """Print the accuracy, the confusion matrix and the accuracy of each class."""
    right = sum(label == found for label, found in known)
    print(f"accuracy {100 * right / len(known):.1f} % of {len(known):,} labelled")
    counts = Counter(known)
    width = max(len(str(name)) for name in classes)
    print(f"{'':{width}}  predicted {'  '.join(map(str, classes))}  accuracy")
    for name in classes:
        row = [counts[name, other] for other in classes]
        cells = "  ".join(f"{count:>{len(str(other))}}" for count, other in zip(row, classes, strict=True))
        accuracy = f"{100 * counts[name, name] / sum(row):.1f} %" if any(row) else "–"
        print(f"{name!s:{width}}            {cells}  {accuracy:>8}")
