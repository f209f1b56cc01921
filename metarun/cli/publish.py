"""`metarun publish run=RUN`: pack a finished run into one file that `metarun import` reads."""

from collections.abc import Sequence
from pathlib import Path

from metarun.cli.output import named_by_flag
from metarun.cli.parser import CommandParser
from metarun.cli.trust import TRUST_HELP, split_trust
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
    named = "a run's directory, the first characters of its id, or last"
    parser.add_argument("run", metavar="run=RUN", help=f"{named}; {TRUST_HELP}")
    parser.add_argument("-o", "--output", type=Path, help="default: the run's name with .zip")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where the run is (default: results)")
    words, trust = split_trust(args)
    options = parser.parse_args(words)
    from metarun.api import load

    run = load(options.run.removeprefix("run="), options.results_dir, trust)
    output = options.output or Path(f"{run.path.resolve().name}.zip")
    with named_by_flag():
        run.publish(output)
    print(f"→ {output} ({output.stat().st_size / 2**20:.2f} MB)")
    if RunDirectory(run.path).environment.is_file():
        print("Its environment.json names the host, the folder and the command of the run.")
    return 0
