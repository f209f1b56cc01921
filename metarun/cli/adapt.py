"""`metarun adapt`: adapt a finished run to a few pictures of your own, for `metarun predict`."""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.cli.parser import CommandParser
from metarun.errors import UserError, counted

if TYPE_CHECKING:
    from metarun.api import Learner

EXAMPLES = """examples:
  metarun adapt run=RUN support=my_letters                 one folder per class, a few pictures in each
  metarun adapt run=RUN support=my_letters -o letters.npz
  metarun predict letters.npz new_pictures"""


def main(args: Sequence[str]) -> int:
    """Adapt, write the learner, and return the exit code.

    Raises:
        UserError: the run or the pictures do not exist or do not fit.
    """
    parser = CommandParser.with_examples(
        "metarun adapt", "Adapt a finished run to a few labelled pictures of your own.", EXAMPLES
    )
    add_settings(parser, ("run", "support"))
    parser.add_argument("-o", "--output", type=Path, default=Path("learner.npz"), help="default: learner.npz")
    options = parser.parse_args(args)
    settings = given(options.settings, required=("run", "support"))
    learner = adapt(settings["run"], Path(settings["support"]), options)
    learner.save(options.output)
    print(f"→ {options.output} ({options.output.stat().st_size / 2**20:.2f} MB)")
    return 0


def add_settings(parser: CommandParser, keys: Sequence[str]) -> None:
    """Add `key=value` arguments and the flags that `adapt` and `predict` share."""
    parser.add_argument("settings", nargs="*", metavar=" ".join(f"{key}=…" for key in keys))
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where the run is (default: results)")
    parser.add_argument("--steps", type=int, help="adaptation steps (default: as in the run's meta-test)")
    parser.add_argument("--invert", action="store_true", help="swap light and dark of your pictures")
    parser.add_argument("--trust", nargs="*", default=[], metavar="NAME", help="your own code that the run may use")


def given(words: Sequence[str], required: Sequence[str]) -> dict[str, str]:
    """Return `key=value` words as a dictionary.

    Raises:
        UserError: a word has another form, or a required key is missing.
    """
    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in ("run", "support", "query"):
            raise UserError(f"{word!r} is not run=RUN, support=FOLDER or query=FOLDER", "see --help.")
        settings[key] = value
    if missing := [key for key in required if key not in settings]:
        raise UserError(f"{missing[0]}= is required", "see --help.")
    return settings


def adapt(run: str, support: Path, options: argparse.Namespace) -> "Learner":
    """Adapt a run to the pictures of a folder and print what was learned; return the learner."""
    from metarun.api.pictures import labelled, read_pictures
    from metarun.api.run import load

    found = load(run, options.results_dir, options.trust)
    x, labels = labelled(read_pictures(found, support, options.invert), support)
    found.algorithm.eval()  # built before the clock starts
    start = time.perf_counter()
    learner = found.adapt(x, labels, options.steps)
    seconds = time.perf_counter() - start
    sizes = Counter(labels)
    print(
        f"{found.result['algo']} {found.id} adapted to {counted(len(sizes), 'class')} of "
        f"{counted(min(sizes.values()), 'picture')}"
        f"{f' to {max(sizes.values())}' if len(set(sizes.values())) > 1 else ''} in {1000 * seconds:.0f} ms"
    )
    if (check := learner.leave_one_out()) is not None:
        print(
            f"leave-one-out on the support set: {100 * check.accuracy:.1f} % of {check.examples} correct; "
            "a query is unknown if its best score is below all of these"
        )
    return learner
