"""Which classes are meta-train, meta-val and meta-test: by a rule of the data set, or by a file of the user's."""

import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile

from metarun.data.examples import SPLITS, LeftOut, Split, check_disjoint
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
            `{train: [...], val: [...], test: [...]}`. An entry is a class ("Greek/character01", "DIGIT ONE") or, where
            no class is called so, the leading words of class names, which stand for all of these ("Greek", "DIGIT").
            Instead of a list there may be a mapping, whose keys are such entries.
        classes: the names of all classes of the data set.
        rules: the splits that the data set knows, each a function of `classes`.

    Raises:
        UserError: no such rule or file, or a file with an unknown name, an overlap or an empty split.
    """
    if split not in rules:
        return split_by_file(name, split, read_split_file(name, split, sorted(rules)), classes)
    return _in_order(name, rules[split](classes), classes)


def unnamed(split: str, lists: ClassLists, classes: Sequence[str]) -> LeftOut:
    """Return what `split_classes` gave to no split."""
    rest = len(classes) - sum(len(names) for names in lists.values())
    return LeftOut((f"{counted(rest, 'class')} that {resolve_path(split).name} does not name",) if rest else ())


def split_by_file(name: str, where: str, content: bytes, classes: Sequence[str]) -> dict[Split, list[str]]:
    """Return the classes of each split, in the data set's own order, as the content of a split file says.

    Raises:
        UserError: as `split_classes`.
    """
    try:
        written = parse_yaml(content)
    except ValueError as error:
        raise UserError(f"{where} cannot be read as JSON or YAML ({error}).") from error
    if not isinstance(written, dict) or set(written) != set(SPLITS):
        raise UserError(f"{where} must be a mapping with the keys train, val and test, each a list of class names.")
    called = {_plain(class_name): class_name for class_name in classes}
    if len(called) < len(classes):  # two of them differ only in how an accent is written
        called = {class_name: class_name for class_name in classes}
    lists = {which: _expand(f"{where}, '{which}'", written[which], called) for which in SPLITS}
    return _in_order(name, lists, classes)


def _plain(name: str) -> str:
    """Write accents in the one way that a zip packed on a Mac does not."""
    return unicodedata.normalize("NFC", name)


def _in_order(name: str, lists: ClassLists, classes: Sequence[str]) -> dict[Split, list[str]]:
    check_disjoint(name, lists)
    order = {class_name: position for position, class_name in enumerate(classes)}
    return {which: sorted(lists[which], key=order.__getitem__) for which in SPLITS}


def read_split_file(name: str, split: str, rules: Sequence[str] = ()) -> bytes:
    """Return the content of the file that `data.split` names.

    Raises:
        UserError: there is none; the sentence names the rules that the data set knows, too.
    """
    path = resolve_path(split)
    if not is_file(path):
        possible = f"neither {' nor '.join(rules)} nor an existing file" if rules else "no existing file"
        raise UserError(
            f"split '{split}' of {name} is {possible}", f"correct `data.split`.{did_you_mean(split, rules)}"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def _expand(where: str, entries: object, called: Mapping[str, str]) -> list[str]:
    entries = list(entries) if isinstance(entries, dict) else entries  # {class: how many examples it has}
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries) or not entries:
        raise UserError(f"{where} must be a list of at least one class name (in quotes where YAML needs them).")
    ordered = sorted(called)
    plain = [entry if entry in called else _plain(entry) for entry in entries]
    expanded = [called[class_name] for entry in plain for class_name in _matches(where, entry, ordered)]
    twice = [class_name for class_name, times in Counter(expanded).items() if times > 1]
    if twice:
        raise UserError(f"{where} names class '{min(twice)}' twice", "name each class once.")
    return expanded


def _matches(where: str, entry: str, ordered: Sequence[str]) -> list[str]:
    """Return the classes that an entry stands for, out of all classes in the order of their names."""
    if next(_beginning_with(entry, ordered), None) == entry:
        return [entry]
    found = [class_name for end in "/ " for class_name in _beginning_with(f"{entry}{end}", ordered)]
    if not found:
        groups = {class_name.replace("/", " ").partition(" ")[0] for class_name in ordered}
        hint = did_you_mean(entry, [*groups, *ordered])
        raise UserError(f"{where} names '{entry}', which is no class or group of classes.{hint}")
    return found


def _beginning_with(start: str, ordered: Sequence[str]) -> Iterator[str]:
    first = bisect_left(ordered, start)
    return takewhile(lambda class_name: class_name.startswith(start), (ordered[i] for i in range(first, len(ordered))))
