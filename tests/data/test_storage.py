import logging
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarun.data import Examples
from metarun.data.storage import data_root, load_or_build, mirror, read_cache
from metarun.errors import UserError

NO_ARCHIVE = BytesIO()
np.save(NO_ARCHIVE, np.zeros(3))


def make_examples(seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (5, 1, 4, 4), dtype=np.uint8)
    return Examples.from_classes({"A": values[:2], "B/rot090": values[2:]})


def assert_equal(one, other):
    assert one.class_names == other.class_names
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(one.offsets, other.offsets)


def never():
    raise AssertionError("built although it is cached")


def test_data_root_is_where_the_variable_says(monkeypatch):
    monkeypatch.setenv("METARUN_DATA", "~/somewhere")
    assert data_root() == Path.home() / "somewhere"
    monkeypatch.delenv("METARUN_DATA")
    assert data_root().name == "metarun"


def test_mirror_is_a_url_or_a_folder_or_none(monkeypatch):
    assert mirror() is None
    monkeypatch.setenv("METARUN_MIRROR", "https://example.org/data/")
    assert mirror() == "https://example.org/data"
    monkeypatch.setenv("METARUN_MIRROR", "/data")
    assert mirror() == Path("/data")


def test_second_load_comes_from_the_cache_and_is_equal(tmp_path):
    built = load_or_build(tmp_path / "new" / "x.npz", "key", make_examples)
    assert_equal(load_or_build(tmp_path / "new" / "x.npz", "key", never), built)
    assert not list(tmp_path.rglob("*.tmp"))


@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_single_changed_byte_is_never_trusted(tmp_path_factory, position, change):
    path = tmp_path_factory.mktemp("cache") / "x.npz"
    load_or_build(path, "key", make_examples)
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= change
    path.write_bytes(content)
    # A byte that carries nothing (of a time stamp, say) may change without harm: what is loaded is right in any case.
    assert_equal(load_or_build(path, "key", make_examples), make_examples())
    assert_equal(read_cache(path, "key"), make_examples())


@pytest.mark.parametrize(
    "content", [b"", b"no archive", b"PK\x03\x04 cut", NO_ARCHIVE.getvalue(), NO_ARCHIVE.getvalue()[:20]]
)
def test_damaged_cache_is_built_anew_with_a_warning(tmp_path, content, caplog):
    (tmp_path / "x.npz").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert_equal(load_or_build(tmp_path / "x.npz", "key", make_examples), make_examples())
    assert "x.npz cannot be read" in caplog.text
    assert_equal(load_or_build(tmp_path / "x.npz", "key", never), make_examples())


def test_truncated_cache_is_built_anew(tmp_path):
    path = tmp_path / "x.npz"
    load_or_build(path, "key", make_examples)
    path.write_bytes(path.read_bytes()[:-100])
    assert_equal(load_or_build(path, "key", make_examples), make_examples())


def test_cache_of_another_key_is_not_trusted(tmp_path, caplog):
    load_or_build(tmp_path / "x.npz", "old recipe", make_examples)
    assert read_cache(tmp_path / "x.npz", "new recipe") is None
    assert "is of another version" in caplog.text


def test_failed_build_caches_nothing_and_lets_the_next_one_in(tmp_path):
    with pytest.raises(AssertionError, match="built although"):
        load_or_build(tmp_path / "x.npz", "key", never)
    assert not (tmp_path / "x.npz").exists()
    load_or_build(tmp_path / "x.npz", "key", make_examples)


def test_those_who_ask_at_once_build_once(tmp_path):
    built = []

    def build():
        built.append(1)
        return make_examples()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: load_or_build(tmp_path / "x.npz", "key", build), range(8)))
    assert len(built) == 1
    for result in results:
        assert_equal(result, make_examples())


def test_folder_that_cannot_be_written_is_told_with_the_knob(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be written .* set METARUN_DATA"):
        load_or_build(tmp_path / "taken" / "x.npz", "key", make_examples)
