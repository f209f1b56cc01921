"""Split classes into meta-train, meta-val and meta-test, by a rule of the data set or a file of yours."""

import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile

from metarun.data.examples import SPLITS, Skipped, Split, check_disjoint
from metarun.errors import UserError, counted, did_you_mean
from metarun.system.parsing import parse_yaml
from metarun.system.paths import is_file, resolve_path

ClassLists = Mapping[Split, Sequence[str]]
Rule = Callable[[Sequence[str]], ClassLists]


def split_classes(name: str, split: str, classes: Sequence[str], rules: Mapping[str, Rule]) -> dict[Split, list[str]]:
    """Return the classes of each split, in the data set's own order.

    Args:
        name: of the data set, for messages.
        split: the name of one of the rules, or the path of a JSON or YAML file
            `{train: [...], val: [...], test: [...]}`. An entry is the name of a class ("Greek/character01",
            "DIGIT ONE") or else the leading words of class names, which means all of these ("Greek", "DIGIT"). A
            mapping instead of a list counts as the list of its keys.
        classes: the names of all classes of the data set.
        rules: the named splits of the data set, each a function of `classes`.

    Raises:
        UserError: the rule or file does not exist, or the file has an unknown name, an overlap or an empty split.
    """
    if split not in rules:
        return split_by_file(name, split, read_split_file(name, split, sorted(rules)), classes)
    return _in_order(name, rules[split](classes), classes)


def unlisted(split: str, lists: ClassLists, classes: Sequence[str]) -> Skipped:
    """Return what `split_classes` put into no split."""
    rest = len(classes) - sum(len(names) for names in lists.values())
    return Skipped((f"{counted(rest, 'class')} not in {resolve_path(split).name}",) if rest else ())


def split_by_file(name: str, where: str, content: bytes, classes: Sequence[str]) -> dict[Split, list[str]]:
    """Return the classes of each split, in the data set's own order, according to a split file."""
    try:
        written = parse_yaml(content)
    except ValueError as error:
        raise UserError(f"{where} cannot be read as JSON or YAML ({error}).") from error
    if not isinstance(written, dict) or set(written) != set(SPLITS):
        raise UserError(f"{where} must be a mapping with the keys train, val and test, each a list of class names.")
    by_name = {_normalise(class_name): class_name for class_name in classes}
    if len(by_name) < len(classes):  # two of them differ only in the Unicode form of an accent
        by_name = {class_name: class_name for class_name in classes}
    lists = {which: _expand(f"{where}, '{which}'", written[which], by_name) for which in SPLITS}
    return _in_order(name, lists, classes)


def _normalise(name: str) -> str:
    """Normalise accents to NFC; zips packed on a Mac have NFD."""
    return unicodedata.normalize("NFC", name)


def _in_order(name: str, lists: ClassLists, classes: Sequence[str]) -> dict[Split, list[str]]:
    check_disjoint(name, lists)
    order = {class_name: position for position, class_name in enumerate(classes)}
    return {which: sorted(lists[which], key=order.__getitem__) for which in SPLITS}


def read_split_file(name: str, split: str, rules: Sequence[str] = ()) -> bytes:
    """Return the content of the file that `data.split` names.

    Raises:
        UserError: it does not exist; the message lists the rules of the data set, too.
    """
    path = resolve_path(split)
    if not is_file(path):
        problem = f"neither {' nor '.join(rules)} nor an existing file" if rules else "not an existing file"
        raise UserError(f"split '{split}' of {name} is {problem}", f"correct `data.split`.{did_you_mean(split, rules)}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def _expand(where: str, entries: object, by_name: Mapping[str, str]) -> list[str]:
    entries = list(entries) if isinstance(entries, dict) else entries  # {class: number of examples}
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries) or not entries:
        raise UserError(f"{where} must be a list of at least one class name (quoted where YAML needs it).")
    ordered = sorted(by_name)
    names = [entry if entry in by_name else _normalise(entry) for entry in entries]
    expanded = [by_name[class_name] for entry in names for class_name in _matches(where, entry, ordered)]
    twice = [class_name for class_name, times in Counter(expanded).items() if times > 1]
    if twice:
        raise UserError(f"{where} lists class '{min(twice)}' twice", "list each class once.")
    return expanded


def _matches(where: str, entry: str, ordered: Sequence[str]) -> list[str]:
    """Return the classes that an entry means; `ordered` are the sorted names of all classes."""
    if next(_with_prefix(entry, ordered), None) == entry:
        return [entry]
    found = [class_name for end in "/ " for class_name in _with_prefix(f"{entry}{end}", ordered)]
    if not found:
        groups = {class_name.replace("/", " ").partition(" ")[0] for class_name in ordered}
        hint = did_you_mean(entry, [*groups, *ordered])
        raise UserError(f"{where} lists '{entry}', which is not a class or group of classes.{hint}")
    return found


def _with_prefix(prefix: str, ordered: Sequence[str]) -> Iterator[str]:
    first = bisect_left(ordered, prefix)
    return takewhile(lambda class_name: class_name.startswith(prefix), (ordered[i] for i in range(first, len(ordered))))
