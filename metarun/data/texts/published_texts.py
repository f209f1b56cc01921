"""Published sets of texts: where they are looked for, how they are read, and how their classes are split."""

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from metarun.data.files.archive import open_files
from metarun.data.files.cache import Original
from metarun.data.texts.utf8 import decoded
from metarun.errors import UserError, counted
from metarun.system.parsing import parse_json
from metarun.system.paths import data_root, is_folder

KnownTextName = Literal["clinc150", "banking77", "hwu64"]
Texts = dict[str, list[str]]  # of each class
PARTS = ("train", "val", "test")  # of the examples of each class, as published; the splits here are of classes
_LARGEST = 1 << 26  # bytes of one file of a set


class ReadTexts(Protocol):
    """How a set is read."""

    def __call__(self, place: Path, parts: Sequence[str] = PARTS) -> tuple[Texts, tuple[str, ...]]:
        """Return the texts of each class in some of `PARTS`, and clauses on what is no example."""


@dataclass(frozen=True, kw_only=True)
class KnownTexts(Original):
    """A published set.

    Args:
        summary: what it holds, one line.
        licence: under which terms, and whom to cite, one line.
        holds: how many classes and texts.
        read: see `ReadTexts`.
        split: returns the split of each class.
        beside: names of files that are needed beside it, any one of which.
        read_out_of_scope: returns its texts that are of no class; None: it has none.
    """

    summary: str
    licence: str
    holds: tuple[int, int]
    read: ReadTexts
    split: Callable[[Sequence[str]], Mapping[str, str]]
    beside: tuple[str, ...] = field(default=())
    read_out_of_scope: Callable[[Path], list[str]] | None = None

    @property
    def folder(self) -> str:
        """That of all such sets."""
        return "text"

    def missing_error(self) -> UserError:
        """See `Original`."""
        where = data_root() / self.folder
        return UserError(f"{self.name} was not found", f"put {self.advice} into {where}, or set `data.root`.")

    def also(self, place: Path) -> tuple[Path, ...]:
        """Return the files that are read beside `place`."""
        return (_beside(place, self.beside),) if self.beside else ()

    def check_whole(self, place: Path, classes: Texts) -> None:
        """Raise a UserError where there are too few or too many classes or texts."""
        found = (len(classes), sum(map(len, classes.values())))
        if found != self.holds:
            raise UserError(
                f"{place} has {counted(found[0], 'class')} and {counted(found[1], 'text')} but {self.name} has "
                f"{self.holds[0]:,} and {self.holds[1]:,}",
                "complete your copy, or use data=text for a set of your own.",
            )


def _beside(place: Path, names: Sequence[str]) -> Path:
    found = next((place.with_name(name) for name in names if place.with_name(name).is_file()), None)
    if found is None:
        raise UserError(f"{names[-1]} is missing beside {place}", "add it.")
    return found


_DOMAINS = ("clinc150_domains.json", "domains.json")


def _read_clinc150(place: Path, parts: Sequence[str] = PARTS) -> tuple[Texts, tuple[str, ...]]:
    """Read `data_full.json` and `domains.json` of github.com/clinc/oos-eval; classes are called domain/intent."""
    domains, lists = _parsed(_beside(place, _DOMAINS)), _parsed(place)
    try:
        domain_of = {str(intent): domain for domain, intents in domains.items() for intent in intents}
        classes: Texts = {f"{domain}/{intent}": [] for intent, domain in domain_of.items()}
        for part in parts:
            for text, intent in lists[part]:
                classes[f"{domain_of[intent]}/{intent}"].append(str(text).strip())
        out_of_scope = sum(len(texts) for part, texts in lists.items() if part.startswith("oos"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{place} is not CLINC150's data_full.json ({error!r})", "fetch it again.") from error
    return dict(sorted(classes.items())), (f"{counted(out_of_scope, 'text')} out of scope",)


def _read_out_of_scope(place: Path) -> list[str]:
    """Read the texts of CLINC150 that no intent fits: 100 of its training, 100 of its validation, 1,000 of its test."""
    lists = _parsed(place)
    try:
        return [str(text).strip() for part in sorted(lists) if part.startswith("oos") for text, _ in lists[part]]
    except (TypeError, ValueError) as error:
        raise UserError(f"{place} is not CLINC150's data_full.json ({error!r})", "fetch it again.") from error


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        parsed = parse_json(gzip.decompress(content) if path.suffix == ".gz" else content)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error})", "fetch it again.") from error
    if not isinstance(parsed, dict):
        raise UserError(f"{path} is not a JSON object", "fetch it again.")
    return parsed


def _read_banking77(place: Path, parts: Sequence[str] = PARTS) -> tuple[Texts, tuple[str, ...]]:
    """Read `train.csv` and `test.csv` of PolyAI's task-specific-datasets."""
    classes: Texts = {}
    for content in _files(place, [f"{part}.csv" for part in parts if part != "val"]):
        for row in csv.DictReader(io.StringIO(content, newline="")):
            if row.get("text") is None or row.get("category") is None:
                raise UserError(f"{place} has a row without text or category", "fetch it again.")
            classes.setdefault(row["category"], []).append(row["text"].strip())
    return dict(sorted(classes.items())), ()


def _read_hwu64(place: Path, parts: Sequence[str] = PARTS) -> tuple[Texts, tuple[str, ...]]:
    """Read `{train,valid,test}/{seq.in,label}`; the first word of a label is its domain: domain/intent."""
    folders = ["valid" if part == "val" else part for part in parts]
    names = [f"{part}/{name}" for part in folders for name in ("seq.in", "label")]
    lines = [content.splitlines() for content in _files(place, names)]
    classes: Texts = {}
    for texts, labels in zip(lines[::2], lines[1::2], strict=True):
        if len(texts) != len(labels):
            raise UserError(f"{place} has {len(texts):,} texts but {len(labels):,} labels", "fetch it again.")
        for text, label in zip(texts, labels, strict=True):
            classes.setdefault(label.strip().replace("_", "/", 1), []).append(text.strip())
    return dict(sorted(classes.items())), ()


def _files(place: Path, wanted: Sequence[str]) -> list[str]:
    """Return the content of files of a folder or zip, which may be below a folder that holds everything."""
    with open_files(place, _LARGEST) as (names, read):
        contents = []
        for ending in wanted:
            found = [name for name in names if name == ending or name.endswith(f"/{ending}")]
            if len(found) != 1:
                kind = "folder" if is_folder(place) else "zip"
                raise UserError(f"the {kind} {place} has {counted(len(found), 'file')} {ending}", "one is expected.")
            contents.append(decoded(read(found[0]), f"{place}: {found[0]}"))
    return contents


def _by_domain(train: Sequence[str], val: Sequence[str]) -> Callable[[Sequence[str]], Mapping[str, str]]:
    """Return the rule that gives all classes of a domain to one split: those of no list are meta-test."""

    def split(classes: Sequence[str]) -> Mapping[str, str]:
        domains = {class_name: class_name.partition("/")[0] for class_name in classes}
        return {c: "train" if d in train else "val" if d in val else "test" for c, d in domains.items()}

    return split


def _by_hash(salt: str, train: int, val: int) -> Callable[[Sequence[str]], Mapping[str, str]]:
    """Return the rule that orders classes by the SHA-256 of "salt:class": the first are meta-train, then meta-val."""

    def split(classes: Sequence[str]) -> Mapping[str, str]:
        ordered = sorted(classes, key=lambda name: hashlib.sha256(f"{salt}:{name}".encode()).digest())
        places = {class_name: place for place, class_name in enumerate(ordered)}
        return {c: "train" if p < train else "val" if p < train + val else "test" for c, p in places.items()}

    return split


KNOWN_TEXTS: Mapping[KnownTextName, KnownTexts] = {
    "clinc150": KnownTexts(
        name="clinc150",
        summary="questions to an assistant: 150 intents in 10 domains, 150 texts each",
        licence="CC BY 3.0; cite Larson et al., EMNLP 2019",
        files=("clinc150_data_full.json.gz", "data_full.json"),
        holds=(150, 22_500),
        advice="data_full.json and domains.json of github.com/clinc/oos-eval",
        read=_read_clinc150,
        # In the order of domains.json; 45, 30 and 75 classes, so that meta-val can have 20-way tasks too.
        split=_by_domain(("banking", "credit_cards", "kitchen_and_dining"), ("home", "auto_and_commute")),
        beside=_DOMAINS,
        read_out_of_scope=_read_out_of_scope,
    ),
    "banking77": KnownTexts(
        name="banking77",
        summary="questions to a bank: 77 intents, 75 to 227 texts each",
        licence="CC BY 4.0; cite Casanueva et al., 2020",
        files=("banking77.zip", "banking_data", "banking77"),
        holds=(77, 13_083),
        advice="the folder banking_data of github.com/PolyAI-LDN/task-specific-datasets",
        read=_read_banking77,
        split=_by_hash("banking77", train=32, val=20),
    ),
    "hwu64": KnownTexts(
        name="hwu64",
        summary="requests to a home assistant: 64 intents in 18 domains, 39 to 197 texts each",
        licence="CC BY 4.0; cite Liu et al., IWSDS 2019",
        files=("hwu64.zip", "HWU64", "hwu64"),
        holds=(64, 11_106),
        advice="the folder Datasets/HWU64 of github.com/jianguoz/Few-Shot-Intent-Detection",
        read=_read_hwu64,
        # 23, 20 and 21 classes.
        split=_by_domain(
            ("general", "iot", "email"),
            ("calendar", "play", "transport", "music", "recommendation", "takeaway"),
        ),
    ),
}
