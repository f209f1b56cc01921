"""Texts as examples: of a file or folders of the user's own, and published sets of texts."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Literal

from metarun.data.class_splits import choose_splits
from metarun.data.display import Display
from metarun.data.encoding import Encoding
from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, Skipped, Split, Values
from metarun.data.files.cache import Storage
from metarun.data.files.dataset_cache import DatasetCache, content_of
from metarun.data.files.file_source import FileSource
from metarun.data.texts.published_texts import KNOWN_TEXTS, KnownTextName
from metarun.data.texts.text_features import Tfidf, Tokens
from metarun.data.texts.text_file import Columns, LabelledText, read_texts
from metarun.errors import UserError, counted
from metarun.system.limits import check_at_least
from metarun.system.paths import PathText, resolve_path

log = logging.getLogger(__name__)

VERSION = 1  # raise it with every change that can change an example or a class

Classes = Mapping[str, Sequence[str]]  # the texts of each class, both in order


class Text(FileSource):
    """Texts with a class each, as TF-IDF vectors or as ids of tokens with a mask (`metarun.data.texts.text_features`).

    The frequencies of TF-IDF are those of the meta-train texts alone. Features are cached; a file that changes is read
    anew. Texts with no characters or no class are skipped and counted.

    Args:
        root: a .csv, .tsv, .jsonl, .parquet or .xlsx file, or a folder or zip of text files, see `read_texts`; None:
            where `known` is looked for.
        text: the column of texts.
        label: the column of classes.
        features: "tfidf": one vector of length 1; "tokens": ids and a mask, for backbone=bag or transformer.
        size: numbers of a TF-IDF vector.
        tokens: "words" or "bytes".
        vocabulary: how many ids hashed words have.
        length: tokens of a text; longer texts are cut.
        split: a file of classes (see `metarun.data.splits`); None: by the folders or the column of splits, or else by
            `split_seed`; a published set has a split of its own.
        split_column: the column that says train, val or test, the same for all texts of a class.
        split_seed: of a random split: 64 % of the classes meta-train, 16 % meta-val, 20 % meta-test.
        groups: columns that group the texts, such as who wrote them, for `task.across=COLUMN`.
        known: the published set that it is; None: the user's own texts.
        storage: "memory", or "disk": features stay in the cache, for sets larger than memory.
    """

    name = "text"
    summary = "texts of your own: data.root=PATH, a CSV, JSON Lines, Parquet or Excel file, or a folder per class"
    licence = "yours"

    def __init__(
        self,
        root: PathText | None = None,
        text: str = "text",
        label: str = "label",
        features: Literal["tfidf", "tokens"] = "tfidf",
        size: int = 2048,
        tokens: Literal["words", "bytes"] = "words",
        vocabulary: int = 8192,
        length: int = 32,
        split: PathText | None = None,
        split_column: str | None = None,
        split_seed: int = 0,
        groups: Sequence[str] | None = None,
        known: KnownTextName | None = None,
        storage: Storage = "memory",
    ) -> None:
        for key, value, least in (("size", size, 1), ("vocabulary", vocabulary, 2), ("length", length, 1)):
            check_at_least(f"data.{key}", value, least)
        self._written = root
        self.root = None if root is None else resolve_path(root)
        self.columns = Columns(text, label, split_column, tuple(groups or ()))
        self.features, self.size, self.tokens = features, size, Tokens(tokens, vocabulary, length)
        self.split, self.split_seed, self.storage = split, split_seed, storage
        self.original = self.known = None if known is None else KNOWN_TEXTS[known]
        if self.known:
            self.name, self.summary, self.licence = self.known.name, self.known.summary, self.known.licence

    def load(self) -> ClassDataset:
        """Return the texts' features, from the cache or computed (seconds)."""
        loaded = self._examples()
        if self.features == "tokens":
            loaded = replace(loaded, id_sizes={"ids": self.tokens.size})
        if self.known is None:
            return loaded
        return replace(loaded, groupings={"domain": _domain_of}, out_of_scope=self._out_of_scope(self._place()))

    def _out_of_scope(self, root: Path) -> Values | None:
        """Return the features of the texts that are of no class, from the cache or computed."""
        assert self.known is not None
        if (read := self.known.read_out_of_scope) is None:
            return None

        def make() -> Examples:
            assert self.known is not None
            classes, _ = self.known.read(root)
            own_split = self.known.split(list(classes)) if self.split is None else None
            lists, _ = choose_splits(str(root), list(classes), self.split, self.split_seed, own_split)
            features_of, _ = self._describer(classes, lists["train"])
            return Examples.from_classes({"out of scope": features_of(read(root))[0]})

        return self._cache(root).load_more("out-of-scope", self._content(root), make).values

    def _place(self) -> Path:
        if self.root is None and self.known is None:
            raise UserError("data=text needs texts", "set `data.root` to a CSV or JSON Lines file or a folder.")
        return super()._place()

    def _content(self, root: Path) -> str:
        return content_of(root, *(self.known.also(root) if self.known else ()), self.split)

    def _cache(self, root: Path) -> DatasetCache:
        how: tuple[object, ...] = ("tfidf", self.size) if self.features == "tfidf" else ("tokens", self.tokens)
        split = (self.split, self.split_seed)
        settings = f"{VERSION}|{root}|{self.columns}|{how}|{split}"
        return DatasetCache("texts", self.name, settings, self.storage, groups=self.columns.groups)

    def _make(self, root: Path) -> ClassDataset:
        if self.known:
            classes, unlisted = self.known.read(root)
            self.known.check_whole(root, classes)
            own_split: Mapping[str, str] | None = self.known.split(list(classes)) if self.split is None else None
            notes: tuple[str, ...] = ()
            texts: list[LabelledText] = []
        else:
            texts, notes = read_texts(root, str(self._written), self.columns)
            classes, skipped = _by_class(root, texts)
            unlisted, notes = (), (*notes, *skipped, *_single(classes))
            own_split = _by_split(texts) if self.split is None and texts[0].split is not None else None
        lists, of_split = choose_splits(str(root), list(classes), self.split, self.split_seed, own_split)
        count = counted(sum(map(len, classes.values())), "text")
        log.info("Computing features (%s) of %s from %s; this is done once.", self.features, count, root)
        splits, cut, encoding = self._features(classes, lists)
        unlisted = (*of_split.unlisted, *unlisted, *cut)
        groups = {name: _groups(texts, i, lists) for i, name in enumerate(self.columns.groups)}
        told = Skipped(unlisted, (*of_split.warnings, *notes))
        vectors = "TF-IDF" if self.features == "tfidf" else "counts of tokens"
        of_test = [text for class_name in lists["test"] for text in classes[class_name]]
        return ClassDataset(
            self.name,
            splits,
            told,
            example_groups=groups,
            encoding=lambda: encoding,
            display=partial(Display, texts=of_test, vectors=vectors),
        )

    def _features(
        self, classes: Classes, lists: Mapping[Split, Sequence[str]]
    ) -> tuple[dict[Split, Examples], tuple[str, ...], Encoding]:
        """Return the examples of each split, a clause on texts that were cut, and how others become examples."""
        features_of, encoding = self._describer(classes, lists["train"])
        cut = 0
        splits = {}
        for split in SPLITS:
            arrays = {c: features_of(classes[c]) for c in lists[split]}
            cut += sum(of_class for _, of_class in arrays.values())
            splits[split] = Examples.from_classes({c: array for c, (array, _) in arrays.items()})
        length = self.tokens.length
        clause = f"what follows the first {length} {self.tokens.kind} of {counted(cut, 'text')} (data.length)"
        return splits, (clause,) if cut else (), encoding

    def _describer(
        self, classes: Classes, train: Sequence[str]
    ) -> tuple[Callable[[Sequence[str]], tuple[Values, int]], Encoding]:
        """Return a function from texts to their features, and to how many of them were cut, and what describes it.

        TF-IDF is that of meta-train.
        """
        columns = {"text": self.columns.text, "label": self.columns.label}
        if self.features == "tokens":
            return self.tokens.fields, Encoding("texts", {"tokens": asdict(self.tokens), **columns})
        tfidf = Tfidf.of([text for class_name in train for text in classes[class_name]], self.size)
        encoding = Encoding("texts", {"size": self.size, **columns}, tfidf.to_arrays())
        return lambda texts: (tfidf.vectors(texts), 0), encoding


def _by_class(root: Path, texts: Sequence[LabelledText]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return the texts of each class, and clauses on those that were skipped."""
    classes: dict[str, list[str]] = {}
    empty = [text for text in texts if not text.text]
    unlabelled = [text for text in texts if text.text and not text.label]
    for text in texts:
        if text.text and text.label:
            classes.setdefault(text.label, []).append(text.text)
    if not classes:
        raise UserError(f"{root} has no text with a class", "fill it, or correct `data.root`.")
    notes = [
        f"{counted(len(skipped), 'text')} {what} skipped, the first in {skipped[0].place}"
        for skipped, what in ((empty, "with no characters"), (unlabelled, "without a class"))
        if skipped
    ]
    return dict(sorted(classes.items())), tuple(notes)


def _groups(
    texts: Sequence[LabelledText], number: int, lists: Mapping[Split, Sequence[str]]
) -> dict[Split, ExampleGroups]:
    """Return what a column of groups says of the texts of each split, in the order of their examples."""
    by_class: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        if text.text and text.label:
            by_class[text.label].append(text.groups[number])
    return {split: ExampleGroups.of(group for c in lists[split] for group in by_class[c]) for split in SPLITS}


def _single(classes: Classes) -> tuple[str, ...]:
    """Return a clause on classes of one text, which cannot be in both support and query."""
    single = [class_name for class_name, texts in classes.items() if len(texts) == 1]
    if not single:
        return ()
    has = "has a single text, too few" if len(single) == 1 else "have a single text each, too few"
    return (f"{counted(len(single), 'class')} {has} for a support and a query example (such as '{single[0]}')",)


def _by_split(texts: Sequence[LabelledText]) -> dict[str, str]:
    """Return the split of each class."""
    first: dict[str, LabelledText] = {}
    for text in texts:
        known = first.setdefault(text.label, text)
        if text.split != known.split and text.text and text.label:
            raise UserError(
                f"class '{text.label}' is in '{known.split}' ({known.place}) and in '{text.split}' ({text.place})",
                "give each class to one split.",
            )
    return {class_name: str(text.split) for class_name, text in first.items()}


def _domain_of(intent: str) -> str:
    return intent.partition("/")[0]
