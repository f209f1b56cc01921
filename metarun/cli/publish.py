"""`metarun publish run=RUN`: pack a finished run into one file that `metarun import` reads."""

from collections.abc import Sequence
from pathlib import Path

from metarun.cli.output import named_by_flag
from metarun.cli.parser import CommandParser
from metarun.results.run_directory import RunDirectory

EXAMPLES = """examples:
  metarun publish run=3f2a                    writes protonet-glyphs-5w1s-3f2a91c4.zip
  metarun publish run=last -o letters.zip
  metarun import letters.zip                  on another machine"""


def main(args: Sequence[str]) -> int:
    """Write the pack and return the exit code."""
    parser = CommandParser.with_examples(
        "metarun publish", "Pack a finished run into one file for another machine.", EXAMPLES
    )
    parser.add_argument("run", metavar="run=RUN", help="a run's directory, the first characters of its id, or last")
    parser.add_argument("-o", "--output", type=Path, help="default: the run's name with .zip")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where the run is (default: results)")
    parser.add_argument("--trust", nargs="*", default=[], metavar="NAME", help="your own code that the run may use")
    options = parser.parse_args(args)
    from metarun.api import load

    run = load(options.run.removeprefix("run="), options.results_dir, options.trust)
    output = options.output or Path(f"{run.path.resolve().name}.zip")
    with named_by_flag():
        run.publish(output)
    print(f"→ {output} ({output.stat().st_size / 2**20:.2f} MB)")
    if RunDirectory(run.path).environment.is_file():
        print("environment.json in it names the host, the folder and the command of the run.")
    return 0
