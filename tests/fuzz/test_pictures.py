"""Pictures, and folders and zips of them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from metarun.data import ImageFolder
from metarun.data.pictures.image_decoding import decode
from metarun.data.pictures.omniglot_archive import Part, read_part
from tests.fuzz.inputs import tiers, try_inputs
from tests.fuzz.sandbox import accepted_or_refused
from tests.fuzz.strange import TEXTS, spoilt
from tests.fuzz.strange_pictures import CONTENTS, add_links, strange_files, strange_zips, write_files

pytestmark = pytest.mark.command

SIZE = 4


@tiers
def test_a_picture_is_decoded_or_refused_with_the_reason(tier: str, sandbox: Path) -> None:
    def check(content: bytes, channels: int) -> None:
        found = accepted_or_refused(lambda: decode("ant.png", content, SIZE, channels))
        assert found is None or (found.shape, found.dtype) == ((channels, SIZE, SIZE), np.uint8)

    try_inputs(tier, 0.12, check, content=CONTENTS, channels=st.sampled_from([1, 3]))


@tiers
def test_a_zip_is_read_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(content: bytes) -> None:
        (sandbox / "x.zip").write_bytes(content)
        accepted_or_refused(lambda: ImageFolder("x.zip", size=SIZE).load())
        accepted_or_refused(lambda: read_part(sandbox / "x.zip", Part("images_background", 1, 1)))

    try_inputs(tier, 0.06, check, content=spoilt(strange_zips()))


@tiers
def test_a_folder_is_read_or_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(files: dict[str, bytes], data: st.DataObject) -> None:
        shutil.rmtree("x", ignore_errors=True)
        Path("x").mkdir()
        write_files(Path("x"), files)
        add_links(Path("x"), data.draw)
        accepted_or_refused(lambda: ImageFolder("x", size=SIZE).load())

    try_inputs(tier, 0.05, check, files=strange_files(), data=st.data())


@tiers
def test_an_invalid_path_is_refused_with_a_message(tier: str, sandbox: Path) -> None:
    def check(root: str, split: str | None) -> None:
        accepted_or_refused(lambda: ImageFolder(root, split, size=SIZE).load())

    try_inputs(tier, 0.03, check, root=TEXTS.filter(lambda root: root.strip() != "/"), split=st.none() | TEXTS)
