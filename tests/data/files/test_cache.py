import logging
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarun.data import SPLITS, ClassDataset, Examples, Glyphs
from metarun.data.files import cache_file
from metarun.data.files.cache import apply_storage, check_cache, load_or_build, mirror, read_cache
from metarun.data.files.cache_file import ExampleStream
from metarun.errors import UserError
from metarun.system.paths import data_root

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


def test_the_second_load_comes_from_the_cache_and_is_equal(tmp_path):
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
    # An unused byte, such as of a time stamp, may change without harm: what is loaded must be right in any case.
    assert_equal(load_or_build(path, "key", make_examples), make_examples())
    assert_equal(read_cache(path, "key"), make_examples())


@pytest.mark.parametrize(
    "content", [b"", b"no archive", b"PK\x03\x04 cut", NO_ARCHIVE.getvalue(), NO_ARCHIVE.getvalue()[:20]]
)
def test_a_damaged_cache_is_rebuilt_with_a_warning(tmp_path, content, caplog):
    (tmp_path / "x.npz").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert_equal(load_or_build(tmp_path / "x.npz", "key", make_examples), make_examples())
    assert "x.npz cannot be read" in caplog.text
    assert_equal(load_or_build(tmp_path / "x.npz", "key", never), make_examples())


@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_single_changed_byte_is_never_trusted_in_a_memory_map(tmp_path_factory, position, change):
    path = tmp_path_factory.mktemp("cache") / "x.npz"
    assert_equal(load_or_build(path, "key", make_examples, "disk"), make_examples())
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= change
    path.write_bytes(content)
    assert_equal(load_or_build(path, "key", make_examples, "disk"), make_examples())


def test_a_truncated_cache_is_rebuilt(tmp_path):
    path = tmp_path / "x.npz"
    load_or_build(path, "key", make_examples)
    path.write_bytes(path.read_bytes()[:-100])
    assert_equal(load_or_build(path, "key", make_examples), make_examples())


def test_a_cache_with_another_key_is_not_trusted(tmp_path, caplog):
    load_or_build(tmp_path / "x.npz", "old recipe", make_examples)
    assert read_cache(tmp_path / "x.npz", "new recipe") is None
    assert "is from another version" in caplog.text


def test_a_failed_build_caches_nothing_and_releases_the_lock(tmp_path):
    with pytest.raises(AssertionError, match="built although"):
        load_or_build(tmp_path / "x.npz", "key", never)
    assert not (tmp_path / "x.npz").exists()
    load_or_build(tmp_path / "x.npz", "key", make_examples)


def test_concurrent_loads_build_once(tmp_path):
    built = []

    def build():
        built.append(1)
        return make_examples()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: load_or_build(tmp_path / "x.npz", "key", build), range(8)))
    assert len(built) == 1
    for result in results:
        assert_equal(result, make_examples())


def test_an_unwritable_folder_names_the_setting(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be written .* set METARUN_DATA"):
        load_or_build(tmp_path / "taken" / "x.npz", "key", make_examples)


# ── on disk ──


@pytest.fixture
def _no_file_is_read_again(monkeypatch):
    monkeypatch.setattr(cache_file, "checksum", never)
    monkeypatch.setattr(ClassDataset, "_hash", never)


def make_blocks(stop_after=None):
    """The examples of `make_examples`, one at a time."""
    examples = make_examples()

    def blocks():
        for i, value in enumerate(examples.values):
            if i == stop_after:
                raise OSError("the disk is full")
            yield value[None]

    return ExampleStream(blocks(), examples.shape, examples.values.dtype, examples.offsets, examples.class_names)


@pytest.mark.parametrize("build", [make_examples, make_blocks])
def test_a_memory_map_equals_what_is_read(tmp_path, build):
    on_disk = load_or_build(tmp_path / "x.npz", "key", build, "disk")
    assert on_disk.on_disk
    assert not on_disk.values.flags.writeable
    assert_equal(on_disk, make_examples())
    in_memory = load_or_build(tmp_path / "x.npz", "key", never)
    assert not in_memory.on_disk
    assert_equal(in_memory, on_disk)
    assert_equal(check_cache(tmp_path / "x.npz", "key"), on_disk)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_file_that_numpy_wrote_can_be_mapped(tmp_path):
    """The format of older versions."""
    examples = make_examples()
    checksum = cache_file.checksum("key", examples)
    names = np.array(examples.class_names)
    np.savez(tmp_path / "x.npz", examples.values, values=examples.values, offsets=examples.offsets, class_names=names)
    assert read_cache(tmp_path / "x.npz", "key", "disk") is None, "it has no checksum"
    np.savez(tmp_path / "x.npz", values=examples.values, offsets=examples.offsets, class_names=names, checksum=checksum)
    assert_equal(read_cache(tmp_path / "x.npz", "key", "disk"), examples)
    np.savez_compressed(
        tmp_path / "x.npz", values=examples.values, offsets=examples.offsets, class_names=names, checksum=checksum
    )
    assert read_cache(tmp_path / "x.npz", "key", "disk") is None, "compressed examples cannot be mapped"
    assert_equal(read_cache(tmp_path / "x.npz", "key"), examples)


def test_mapped_floats_are_aligned(tmp_path):
    floats = Examples.from_classes({"A": np.linspace(0, 1, 10, dtype=np.float32).reshape(2, 5)})
    found = load_or_build(tmp_path / "x.npz", "key", lambda: floats, "disk")
    assert_equal(found, floats)
    assert found.values.flags.aligned


def test_a_memory_map_is_verified_once_and_again_when_its_file_changes(settled, tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    load_or_build(path, "key", make_examples)
    (tmp_path / "x.hashes.json").unlink()
    read = []
    monkeypatch.setattr(cache_file, "checksum", lambda *a, real=cache_file.checksum: read.append(1) or real(*a))
    for times in (1, 1):
        assert_equal(read_cache(path, "key", "disk"), make_examples())
        assert len(read) == times
    path.touch()
    assert_equal(read_cache(path, "key", "disk"), make_examples())
    assert len(read) == 2
    (tmp_path / "x.hashes.json").write_text("{")
    assert_equal(read_cache(path, "key", "disk"), make_examples())
    assert len(read) == 3
    assert read_cache(path, "another key", "disk") is None


@pytest.mark.usefixtures("_no_file_is_read_again")
def test_what_was_just_written_is_not_verified(tmp_path):
    load_or_build(tmp_path / "x.npz", "key", make_blocks, "disk")


def test_a_failed_stream_leaves_no_file(tmp_path):
    with pytest.raises(UserError, match=r"x\.npz cannot be written \(the disk is full\)"):
        load_or_build(tmp_path / "x.npz", "key", lambda: make_blocks(stop_after=3), "disk")
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]


def test_a_data_set_made_in_memory_is_written_to_disk_once_and_keeps_its_hash(settled, root, monkeypatch):
    examples = {split: Examples.from_classes({split: make_examples(i).values}) for i, split in enumerate(SPLITS)}
    data = ClassDataset("mine", examples)
    assert apply_storage(data, "memory") is data
    on_disk = apply_storage(data, "disk")
    assert on_disk.hash == data.hash
    for split in SPLITS:
        assert on_disk.splits[split].on_disk
        assert_equal(on_disk.splits[split], examples[split])
    files = {path: path.stat().st_mtime_ns for path in root.rglob("*.npz")}
    assert len(files) == 3
    again = apply_storage(data, "disk")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.npz")} == files
    monkeypatch.setattr(ClassDataset, "_hash", never)
    assert again.hash == data.hash


def test_glyphs_are_the_same_on_disk():
    in_memory, on_disk = Glyphs().load(), Glyphs(storage="disk").load()
    assert on_disk.hash == in_memory.hash
    assert all(on_disk.splits[split].on_disk for split in SPLITS)


def test_a_slice_of_a_memory_map_that_would_be_copied_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((6, 1, 4, 4), np.uint8))
    values = np.load(tmp_path / "x.npy", mmap_mode="r")[:, :, ::2]
    examples = Examples(values, np.array([0, 6]), ("A",))
    with pytest.raises(UserError, match="split 'train' of mine is part of a memory map and would be copied"):
        ClassDataset("mine", dict.fromkeys(SPLITS, examples))


def test_the_hash_of_a_users_memory_maps_is_cached(settled, tmp_path, monkeypatch):
    splits = {}
    for i, split in enumerate(SPLITS):
        np.save(tmp_path / f"{split}.npy", make_examples(i).values)
        values = np.load(tmp_path / f"{split}.npy", mmap_mode="r")
        splits[split] = Examples(values, np.array([0, 5]), (split,))
    data = ClassDataset("mine", splits)
    in_memory = {split: Examples(np.array(e.values), e.offsets, e.class_names) for split, e in splits.items()}
    assert data.hash == ClassDataset("mine", in_memory).hash
    first_rows = {split: Examples(e.values[:5], e.offsets, e.class_names) for split, e in splits.items()}
    monkeypatch.setattr(ClassDataset, "_hash", lambda _: "computed")
    assert ClassDataset("mine", splits).hash == data.hash
    assert ClassDataset("mine", first_rows).hash == "computed", "a slice of a memory map is not a file"
    np.save(tmp_path / "val.npy", make_examples(9).values)
    assert ClassDataset("mine", splits).hash == "computed"


@pytest.mark.parametrize("piece", [1, 16, 100])
def test_a_hash_does_not_depend_on_the_size_of_the_pieces(monkeypatch, piece):
    examples = make_examples()
    before = cache_file.checksum("key", examples)
    monkeypatch.setattr("metarun.data.examples.PIECE", piece)
    assert cache_file.checksum("key", examples) == before
