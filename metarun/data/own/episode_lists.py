"""Reading episodes: folders, the layout of Omniglot's one-shot classification, JSON, or a table."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from metarun.data.encoders import Encoder, RowEncoder, TextEncoder
from metarun.data.files.archive import ReadFile, open_files
from metarun.data.own.episodes import SETS, Episodes, Rows, make_episodes
from metarun.data.own.examples import read_examples
from metarun.data.own.files import encode_files
from metarun.data.own.texts import encode_texts
from metarun.errors import UserError
from metarun.system.parsing import parse_json
from metarun.system.paths import is_file, is_folder
from metarun.system.progress import ignore_progress

_LARGEST = 1 << 28  # bytes of a file
_LABELS = "class_labels.txt"  # of each run of Omniglot's one-shot classification, with the file of each query's class
_TRAINING = "training"  # its folder of support sets
_TABLES = (".csv", ".tsv", ".parquet", ".xlsx")

Listed = dict[str, dict[str, list[tuple[str, str]]]]  # episode -> "support" or "query" -> (file, class)


def read_episodes(encoder: Encoder, path: Path) -> Episodes:
    """Read episodes.

    They are: a folder or zip with the layout of Omniglot's one-shot classification (`run01/training/*`, `run01/test/*`,
    `run01/class_labels.txt`); a folder or zip of `<episode>/support/<class>/*` and `<episode>/query/<class>/*`; a JSON
    list of `{"support": {"<class>": ["file", …]}, "query": {…}}`; or a table with the columns `episode` and `set`
    ("support" or "query") and those of `read_examples`. Files are named from the folder of the list on.

    Args:
        encoder: of the run.
        path: of the file, folder or zip.

    Raises:
        UserError: there are none, an example cannot be decoded, or an episode is no task; the message names it.
    """
    if not (is_file(path) or is_folder(path)):
        raise UserError(f"episodes={path} does not exist", "name a JSON list, a table, a folder or a zip.")
    if path.suffix.lower() in _TABLES:
        return _of_table(encoder, path)
    if isinstance(encoder, RowEncoder):
        raise UserError(f"episodes={path} is not a table but the run takes rows", f"name one ({', '.join(_TABLES)}).")
    if path.suffix.lower() == ".json":
        with open_files(path.parent, _LARGEST) as (_, read):
            return _of_listed(encoder, path, _from_json(path, read(path.name)), read)
    with open_files(path, _LARGEST) as (names, read):
        return _of_listed(encoder, path, _from_folders(path, names, read), read)


def _from_json(path: Path, content: bytes) -> Listed:
    try:
        listed: Listed = {}
        episodes: Any = parse_json(content)
        for number, episode in enumerate(episodes, 1):
            name = str(episode.get("name", number))
            listed[name] = {
                each: [(str(file), str(label)) for label, files in episode[each].items() for file in files]
                for each in SETS
            }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is not a list of episodes ({type(error).__name__}: {error})",
            'write [{"support": {"a": ["1.png"], …}, "query": {"a": ["2.png"], …}}, …].',
        ) from error
    return listed


def _from_folders(path: Path, names: Iterable[str], read: ReadFile) -> Listed:
    files = sorted(name for name in names if not any(part.startswith((".", "__MACOSX")) for part in name.split("/")))
    labels = [name for name in files if PurePosixPath(name).name == _LABELS]
    if labels:
        texts = {name: read(name).decode("utf-8", "replace") for name in labels}
        return {_folder(name): _from_labels(path, name, text, files) for name, text in texts.items()}
    listed: Listed = defaultdict(lambda: {each: [] for each in SETS})
    for name in files:
        parts = name.split("/")
        places = [i for i, part in enumerate(parts) if part in SETS]
        if places and len(parts) > places[0] + 2:
            which = places[0]
            episode, label = "/".join(parts[:which]), "/".join(parts[which + 1 : -1])
            listed[episode][parts[which]].append((name, label))
    if not listed:
        raise UserError(
            f"{path} has no episodes",
            "make folders EPISODE/support/CLASS and EPISODE/query/CLASS, or list files in a table or in JSON.",
        )
    return listed


def _from_labels(path: Path, place: str, text: str, files: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the files of one run of Omniglot's one-shot classification; a class is called by its support file."""
    folder = _folder(place)
    there, above = set(files), _folder(folder)
    query = []
    for line, words in enumerate(map(str.split, text.splitlines()), 1):
        pair = [f"{above}/{word}" if above else word for word in words]
        if len(pair) != 2 or not there.issuperset(pair):
            raise UserError(
                f"line {line} of {place} in {path} does not name a query and the file of its class",
                "write two paths, such as run01/test/item01.png run01/training/class08.png.",
            )
        query.append((pair[0], pair[1]))
    start = f"{folder}/{_TRAINING}/" if folder else f"{_TRAINING}/"
    return {"support": [(file, file) for file in files if file.startswith(start)], "query": query}


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _of_listed(encoder: Encoder, path: Path, listed: Listed, read: ReadFile) -> Episodes:
    """Decode every file once."""
    files = list(dict.fromkeys(file for sets in listed.values() for each in SETS for file, _ in sets[each]))
    if not files:
        raise UserError(f"{path} has no episodes", "name some files.")
    unlabelled = [(file, None) for file in files]
    if isinstance(encoder, TextEncoder):
        examples = encode_texts(encoder, unlabelled, read)
    else:
        assert not isinstance(encoder, RowEncoder), "rows are in tables"
        examples = encode_files(encoder, unlabelled, read, False, ignore_progress)
    row_of = {file: row for row, file in enumerate(files)}
    rows = {
        name: {each: [(row_of[file], label) for file, label in sets[each]] for each in SETS}
        for name, sets in listed.items()
    }
    return make_episodes(path, examples, rows)


def _of_table(encoder: Encoder, path: Path) -> Episodes:
    from metarun.data.tables.table_file import check_columns, read_table  # pandas: half a second

    table = read_table(path, str(path), names=["episode", "set"])
    check_columns(table, path, "episodes", ["episode", "set"])
    examples = read_examples(encoder, path)
    rows: dict[str, dict[str, Rows]] = defaultdict(lambda: {each: [] for each in SETS})
    for row, (name, which, found) in enumerate(zip(table["episode"], table["set"], examples.found, strict=True)):
        if which not in SETS:
            raise UserError(f"{found.name} is in the set {which!r}", 'write "support" or "query".')
        if found.label is None and examples.targets is None:
            raise UserError(f"{found.name} has no class", "fill the column of classes.")
        rows[str(name)][which].append((row, found.label or ""))
    return make_episodes(path, examples, rows)
