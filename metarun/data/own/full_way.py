"""The protocol of published sets of intents: all classes at once, a few examples of each, and the whole test set."""

import hashlib
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from metarun.data.encoders import Encoder, TextEncoder
from metarun.data.own.episodes import Episodes, Rows, make_episodes
from metarun.data.own.found import Found
from metarun.data.own.texts import encoded
from metarun.data.texts.published_texts import KNOWN_TEXTS, KnownTextName
from metarun.errors import UserError, counted

DRAWS = 10  # support sets, where no number is asked for


def full_way_episodes(encoder: Encoder, name: KnownTextName, shot: int, draws: int, seed: int) -> Episodes:
    """Return tasks of all classes of a published set, with the texts of its own test set as queries.

    Intents have been compared this way since Casanueva et al. 2020 (https://arxiv.org/abs/2003.04807): `shot` texts of
    each class, here drawn from the train set by a hash of seed, draw, class and number.

    Args:
        encoder: of the run.
        name: of the set.
        shot: support texts of each class.
        draws: of the support set; each is an episode.
        seed: of the draws.

    Raises:
        UserError: the set is nowhere, a class has fewer texts, or the run takes no texts.
    """
    known = KNOWN_TEXTS[name]
    if not isinstance(encoder, TextEncoder):
        raise UserError(f"episodes={name} has texts but the run takes a {encoder.noun}", "use a run on texts.")
    place = known.place()
    known.check_whole(place, known.read(place)[0])
    train, test = (known.read(place, (part,))[0] for part in ("train", "test"))
    fewest = min(train, key=lambda label: len(train[label]))
    if shot > len(train[fewest]):
        raise UserError(
            f"shot={shot} but class '{fewest}' has {counted(len(train[fewest]), 'text')} in the train set of {name}",
            "lower `task.shot`.",
        )
    found = [
        Found(f"{name}: {part} text {i} of {label}", label, text=text)
        for part, classes in (("train", train), ("test", test))
        for label, texts in classes.items()
        for i, text in enumerate(texts)
    ]  # all of them, drawn or not: an encoder's vectors are cached for every shot and draw
    first = dict(zip(train, accumulate(map(len, train.values()), initial=0), strict=False))  # row of each class
    count = sum(map(len, train.values()))
    query: Rows = [(row, str(found[row].label)) for row in range(count, len(found))]
    rows: dict[str, dict[str, Rows]] = {}
    for draw in range(draws):
        support = [
            (first[label] + i, label)
            for label, texts in train.items()
            for i in _first_by_hash(f"{seed}|{draw}|{label}", texts, shot)
        ]
        rows[f"draw {draw}"] = {"support": support, "query": query}
    return make_episodes(Path(f"{name}_all_classes"), encoded(encoder, found), rows)


def _first_by_hash(salt: str, texts: Sequence[str], count: int) -> list[int]:
    """Return the numbers of `count` texts, drawn in a way that no version of a library can change."""
    return sorted(range(len(texts)), key=lambda i: hashlib.sha256(f"{salt}|{i}".encode()).digest())[:count]
