"""`metarun data list | get NAME | check NAME`: the data sets in conf/data/."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarun.cli.parser import CommandParser
from metarun.config.folder import config_dir
from metarun.errors import UserError, did_you_mean

if TYPE_CHECKING:  # imports numpy, which `data get <Tab>` does not need
    from metarun.data import DataSource
    from metarun.data.contents import Loaded

EXAMPLES = """\
examples:
  metarun data list
  metarun data get omniglot
  metarun data get omniglot split=lake
  metarun data check omniglot
  metarun data check l2l_taskset tasksets=my_tasks:tasksets
  metarun data check omniglot+glyphs
"""


def main(args: Sequence[str]) -> int:
    """Run `metarun data` with its arguments; return its exit code."""
    options = _parser().parse_args(args)
    if options.action == "list":
        _print_list()
    else:
        sys.path.append(str(Path.cwd()))  # users import their own Tasksets from the current folder
        source = build_source(options.name, options.setting)
        print(_check(source) if options.action == "check" else f"{options.name}: {_get(source)}")
    return 0


def names() -> list[str]:
    """Return the names of the packaged data sets, sorted."""
    return sorted(path.stem for path in (config_dir() / "data").glob("*.yaml"))


def build_source(name: str, settings: Sequence[str] = ()) -> "DataSource":
    """Return the data source that `metarun train data=<name>` would use.

    Args:
        name: an option of conf/data/.
        settings: ``key=value`` for keys of the source, such as ``split=lake``.

    Raises:
        UserError: the data set or a key is unknown, or a setting is not of the form `key=value`.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from metarun.config.instantiate import build
    from metarun.config.mixtures import with_mixtures
    from metarun.config.schema import register

    with_mixtures([f"data={name}"])
    if "+" not in name and name not in names():
        raise UserError(f"unknown data set {name!r}.{did_you_mean(name, names())} Possible: {', '.join(names())}.")
    register()
    overrides = [f"data={name}", *map(_override, settings)]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        node = OmegaConf.to_container(compose("config", overrides).data, resolve=True)
    source: DataSource = build("data", node)  # type: ignore[arg-type]  # every file in conf/data/ is a mapping
    return source


def _override(setting: str) -> str:
    """Return the override for a ``key=value`` of the data source.

    What is wrong with it is found here, where it can be quoted as the user wrote it.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType

    setting = setting.removeprefix("data.")
    (parsed,) = OverridesParser.create().parse_overrides([setting])
    if parsed.type is not OverrideType.CHANGE:  # ~key or +key=value
        raise UserError(f"{setting!r} is not of the form key=value.")
    if parsed.is_sweep_override():
        raise UserError(f"{setting} has several values", "give it one, or a list in brackets.")
    return f"++data.{setting}"


def _check(source: "DataSource") -> str:
    """Check a data set; return the result, followed by the warnings that a run would print."""
    found = source.check()  # before loading, which may write the cache that this compares
    return "\n".join([found, *_duplicates(source.load())])


def _get(source: "DataSource") -> str:
    """Load a data set; return its contents, followed by the warnings that a run would print."""
    from metarun.data import ClassDataset, EntityDataset, MixedDatasets
    from metarun.data.contents import describe

    data = source.load()
    warnings = data.skipped.warnings if isinstance(data, ClassDataset | EntityDataset | MixedDatasets) else ()
    return "\n".join([describe(data), *warnings, *_duplicates(data)])


def _duplicates(data: "Loaded") -> Iterator[str]:
    from metarun.data import ClassDataset, MixedDatasets
    from metarun.data.duplicates import describe_duplicates, find_duplicates

    if isinstance(data, ClassDataset | MixedDatasets):
        splits = data.splits
        if found := find_duplicates(data.name, data.hash, lambda: splits):
            yield from describe_duplicates(data.name, found)


def sources() -> Iterator[tuple[str, "DataSource"]]:
    """Yield the name and the source of each packaged data set that knows its location."""
    for name in names():
        source = _unchanged_source(name)
        if hasattr(source, "where"):  # a user's class needs only load()
            yield name, source


def _unchanged_source(name: str) -> "DataSource":
    """Return the same as `build_source` without settings, but without composing the config of a whole run."""
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationResolutionError

    from metarun.config.instantiate import build

    option = OmegaConf.create(_own_keys(name))
    if "_target_" not in option.get("data", {}) or (config_dir() / "local" / "default.yaml").exists():
        return build_source(name)  # another file has a say
    try:
        node = OmegaConf.to_container(option.data, resolve=True)
    except InterpolationResolutionError:  # likewise
        return build_source(name)
    source: DataSource = build("data", node)  # type: ignore[arg-type]  # a mapping
    return source


def _own_keys(name: str) -> dict[str, Any]:
    """Return the keys of a data set's YAML file and of the data sets that it builds on."""
    from metarun.config.mixtures import read_option

    option = read_option(config_dir() / "data" / f"{name}.yaml")
    for base in option.get("defaults", []):
        if base in names():
            option["data"] = _own_keys(base)["data"] | option["data"]
    return option


def _print_list() -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from metarun.system.paths import data_root

    table = Table(Column("name", no_wrap=True), "what it is", "licence")
    table.add_column("where", overflow="fold")
    for name, source in sources():
        table.add_row(name, source.summary, source.licence, source.where() or f"not found: metarun data get {name}")
    console = Console()
    console.print(table)
    console.print("data=omniglot+glyphs trains on tasks of both and tests on each of them.")
    console.print(f"The data root is {data_root()} (set METARUN_DATA to change it).", soft_wrap=True)


def _parser() -> CommandParser:
    parser = CommandParser.with_examples(
        "metarun data", "List the data sets, get one, or check that it is complete.", EXAMPLES
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | get NAME | check NAME")
    actions.add_parser("list", help="show every data set with its description, licence and location")
    for action, description in (
        ("get", "load a data set: download it if possible, else say where to put it"),
        ("check", "read all of a data set and verify it"),
    ):
        subparser = actions.add_parser(action, help=description)
        subparser.add_argument("name", metavar="NAME", help="a name from `metarun data list`")
        subparser.add_argument(
            "setting",
            nargs="*",
            default=[],  # without it, argparse names the setting among the required arguments
            metavar="key=value",
            help="a key of the data set, e.g. split=lake",
        )
    return parser
