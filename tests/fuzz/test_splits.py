"""Split lists: files named by `data.split`, or `split.json` in a folder of pictures."""

from pathlib import Path

import pytest
from hypothesis import strategies as st

from metarun.data.splits import split_by_file, split_classes
from tests.fuzz.inputs import tiers, try_inputs
from tests.fuzz.sandbox import accepted_or_refused
from tests.fuzz.strange import FOREIGN, TEXTS, VALUES, dumped, spoilt

pytestmark = pytest.mark.command

CLASSES = [f"{group}/character{number:02}" for group in ("Greek", "Latin", "日本語") for number in range(4)]
ENTRIES = st.one_of(st.sampled_from([*CLASSES, "Greek", "Latin", "日本語", "Greec"]), TEXTS)
LISTS = st.one_of(st.lists(ENTRIES, max_size=4), st.dictionaries(ENTRIES, st.integers(), max_size=3), VALUES)
FILES = dumped(
    st.one_of(
        st.fixed_dictionaries({"train": LISTS, "val": LISTS, "test": LISTS}, optional={"more": LISTS}),
        st.just({"train": ["Greek"], "val": ["Latin"], "test": ["日本語"]}),
        VALUES,
    )
)


@tiers
def test_a_split_list_is_a_partition_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(content: bytes) -> None:
        lists = accepted_or_refused(lambda: split_by_file("letters", "lists.yaml", content, CLASSES))
        if lists is not None:
            every = [name for names in lists.values() for name in names]
            assert len(set(every)) == len(every)
            assert set(every) <= set(CLASSES)
            assert all(lists.values())

    try_inputs(tier, 0.15, check, content=spoilt(st.one_of(FILES, FILES, FOREIGN)))


@tiers
def test_an_unknown_split_is_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(word: str) -> None:
        accepted_or_refused(lambda: split_classes("letters", word, CLASSES, {"rule": lambda names: {}}))

    try_inputs(tier, 0.03, check, word=TEXTS)
