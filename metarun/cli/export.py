"""`metarun export`: a finished run as a model that other programs load."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from metarun.cli.parser import CommandParser
from metarun.cli.settings import read_settings
from metarun.cli.trust import TRUST_HELP, split_trust

EXAMPLES = """examples:
  metarun export run=RUN format=onnx                for onnxruntime, in any language
  metarun export run=RUN format=torch -o my_model   a .pt2 file, which needs torch but not metarun
  metarun export run=RUN format=tensorflow          a SavedModel
  metarun export run=RUN format=litert              a .tflite file for phones and small devices
  metarun export run=RUN format=onnx --steps 1      gradient-based methods: more or fewer steps than in meta-test
The model takes support_x, support_y and query_x and gives logits. It is compared with torch before it is kept."""


def main(args: Sequence[str]) -> int:
    """Export, print what was made, and return the exit code."""
    parser = CommandParser.with_examples(
        "metarun export", "Write a finished run as a model that other programs load, with a model card.", EXAMPLES
    )
    parser.add_argument("settings", nargs="*", metavar="run=RUN format=FORMAT", help=TRUST_HELP)
    parser.add_argument("-o", "--output", type=Path, help="the new folder (default: named after the run and format)")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where the run is (default: results)")
    parser.add_argument("--steps", type=int, help="adaptation steps (default: as in the run's meta-test)")
    parser.add_argument("--way", type=int, help="classes, if the method has no fixed head (default: as in meta-test)")
    parser.add_argument("--tasks", type=int, default=100, help="meta-test tasks to compare on (default: 100)")
    words, trust = split_trust(args)
    options = parser.parse_intermixed_args(words)
    settings = read_settings(options.settings, ("run", "format"), "export")
    from metarun.api.run import load
    from metarun.export import export

    run = load(settings["run"], options.results_dir, trust)
    print(f"{run.result['algo']} {run.id} as {settings['format']}")
    made = export(
        *(run, settings["format"], options.output),
        way=options.way,
        steps=options.steps,
        tasks=options.tasks,
        on_progress=_progress(),
    )
    found = made.checked
    print(
        f"equal to torch on {found.tasks:,} meta-test tasks (largest difference {found.largest_difference:.1e})\n"
        f"{made.megabytes:.2f} MB, loaded in {made.load_ms:.0f} ms, {found.model_ms:.1f} ms per task "
        f"(torch {found.torch_ms:.1f} ms)\n→ {made.folder}"
    )
    return 0


def _progress() -> Callable[[str], None]:
    """Return a function that shows the current stage on a terminal; elsewhere it does nothing."""
    if not sys.stderr.isatty():
        return lambda _: None
    shown = 0.0

    def show(stage: str) -> None:
        nonlocal shown
        if time.monotonic() - shown > 0.1:
            shown = time.monotonic()
            print(f"\r\033[K{stage}", end="\r", file=sys.stderr, flush=True)

    return show
