"""`metarun data list | get NAME | check NAME`: the data sets that conf/data/ names."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.cli.parser import WordParser
from metarun.config.compose import config_dir
from metarun.errors import UserError, did_you_mean

if TYPE_CHECKING:  # numpy: `data get <Tab>` needs only the names
    from metarun.data import ClassDataset, DataSource, Sinusoid

EXAMPLES = """\
examples:
  metarun data list
  metarun data get omniglot
  metarun data get omniglot split=lake
  metarun data check omniglot
  metarun data check l2l_taskset tasksets=my_tasks:tasksets
"""


def main(words: Sequence[str]) -> int:
    """Run `metarun data` with the words after it; return its exit code.

    Raises:
        UserError: there is no such data set, or it cannot be had.
    """
    asked = _parser().parse_args(words)
    if asked.action == "list":
        _print_list()
    else:
        sys.path.append(str(Path.cwd()))  # a user's own Tasksets are found where the command is run
        source = build_source(asked.name, asked.setting)
        print(_checked(source) if asked.action == "check" else f"{asked.name}: {_got(source)}")
    return 0


def names() -> list[str]:
    """Return the names of the packaged data sets, in the order of the alphabet."""
    return sorted(path.stem for path in (config_dir() / "data").glob("*.yaml"))


def build_source(name: str, settings: Sequence[str] = ()) -> "DataSource":
    """Return the data source that `metarun train data=<name>` would use.

    Args:
        name: an option of conf/data/.
        settings: ``key=value`` for keys of the source, such as ``split=lake``.

    Raises:
        UserError: there is no such data set, or it has no such key.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from metarun.config.instantiate import build
    from metarun.config.schema import register

    if name not in names():
        raise UserError(f"there is no data set {name!r}.{did_you_mean(name, names())} Possible: {', '.join(names())}.")
    register()
    overrides = [f"data={name}", *(f"++data.{setting.removeprefix('data.')}" for setting in settings)]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        node = OmegaConf.to_container(compose("config", overrides).data, resolve=True)
    source: DataSource = build("data", node)  # type: ignore[arg-type]  # a mapping, as every file in conf/data/ says
    return source


def _checked(source: "DataSource") -> str:
    """Return what the check of a data set found, and below it what a run would warn of."""
    found = source.check()  # first: to load may cache, and it says whether what is cached agrees
    return "\n".join([found, *_duplicates(source.load())])


def _got(source: "DataSource") -> str:
    """Return what a data set holds once it is here, and below it what a run would warn of."""
    from metarun.data import ClassDataset
    from metarun.data.contents import describe

    data = source.load()
    left_out = data.left_out.unasked if isinstance(data, ClassDataset) else ()
    return "\n".join([describe(data), *left_out, *_duplicates(data)])


def _duplicates(data: "ClassDataset | Sinusoid") -> Iterator[str]:
    from metarun.data import ClassDataset
    from metarun.data.duplicates import describe_duplicates, find_duplicates

    if isinstance(data, ClassDataset) and (found := find_duplicates(data.name, data.hash, lambda: data.splits)):
        yield from describe_duplicates(data.name, found)


def sources() -> Iterator[tuple[str, "DataSource"]]:
    """Yield each packaged data set that can say where it lies: its name and its source."""
    for name in names():
        source = build_source(name)
        if hasattr(source, "where"):  # a class of the user's own needs no more than load()
            yield name, source


def _print_list() -> None:
    from rich.console import Console
    from rich.table import Table

    from metarun.system.paths import data_root

    table = Table("name", "what it is", "licence")
    table.add_column("where", overflow="fold")
    for name, source in sources():
        table.add_row(name, source.summary, source.licence, source.where() or f"not here: metarun data get {name}")
    console = Console()
    console.print(table)
    console.print(f"Data are looked for under {data_root()} (set METARUN_DATA to change it).", soft_wrap=True)


def _parser() -> WordParser:
    parser = WordParser.with_examples(
        "metarun data", "What there is to learn from, where it lies, and whether it is whole.", EXAMPLES
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | get NAME | check NAME")
    actions.add_parser("list", help="every data set: what it is, its licence, where it lies")
    for action, what in (("get", "download or build it, and keep it"), ("check", "read all of it and compare")):
        subparser = actions.add_parser(action, help=what)
        subparser.add_argument("name", metavar="NAME", help="a name from `metarun data list`")
        subparser.add_argument("setting", nargs="*", metavar="key=value", help="a key of the data set, e.g. split=lake")
    return parser
